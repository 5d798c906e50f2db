"""The terms of the book's own glossary are asked for where the English page uses them."""

from metasgd.tools.translations.terms import EVERYDAY, glossary, missing_terms


def test_names_of_terms_stand_before_and_in_the_brackets_of_the_table() -> None:
    assert glossary()["support set"] == ["支持集", "支撑集"]
    assert glossary()["MAML"] == ["模型无关元学习", "MAML"]
    assert glossary()["gradient descent"] == ["梯度下降", "随机梯度下降"]
    assert len(glossary()) > 100


def test_words_with_an_everyday_meaning_are_terms_of_the_glossary_or_near_them() -> None:
    assert len(EVERYDAY & glossary().keys()) > len(EVERYDAY) / 2


def test_missing_term_is_named() -> None:
    english = "The support sets, and a meta-gradient; `query_set` and the everyday head."
    assert list(missing_terms(english, "支持集与元梯度")) == []
    assert list(missing_terms(english, "支持集")) == ["the term “meta-gradient” is not translated as 元梯度"]
