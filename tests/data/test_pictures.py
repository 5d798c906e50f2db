"""Picture files of every kind are read upright, on white, grey or coloured; what cannot be read is named."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision import transforms

from metasgd.data import pictures, read_picture

RANDOM = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)


def saved(picture: Image.Image, path: Path, **options: object) -> Path:
    picture.save(path, **options)
    return path


@pytest.mark.parametrize("shape", [(30, 40), (40, 30), (33, 33), (5, 90)])
@pytest.mark.parametrize("colour", [False, True])
def test_a_picture_is_made_square_as_torchvision_does(shape: tuple[int, int], colour: bool, tmp_path: Path) -> None:
    array = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    picture = Image.fromarray(array)
    path = saved(picture, tmp_path / "a.png")
    square = transforms.Compose([transforms.Resize(28), transforms.CenterCrop(28)])
    expected = torch.from_numpy(np.array(square(picture if colour else picture.convert("L"))))
    found = read_picture(path, colour=colour, size=28)
    assert torch.equal(found, expected.movedim(-1, 0) if colour else expected)
    assert found.is_contiguous()


def test_without_a_size_every_pixel_stays(tmp_path: Path) -> None:
    path = saved(Image.fromarray(RANDOM), tmp_path / "a.png")
    assert torch.equal(read_picture(path, colour=True), torch.from_numpy(RANDOM).movedim(2, 0))
    grey = RANDOM @ np.array([0.299, 0.587, 0.114])
    torch.testing.assert_close(read_picture(path).double(), torch.from_numpy(grey), rtol=0, atol=0.6)


def test_grey_pictures_stay_exactly_as_they_are(tmp_path: Path) -> None:
    path = saved(Image.fromarray(RANDOM[..., 0]), tmp_path / "a.png")
    assert torch.equal(read_picture(path), torch.from_numpy(RANDOM[..., 0]))
    assert torch.equal(read_picture(path, colour=True)[2], torch.from_numpy(RANDOM[..., 0]))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_as_its_camera_says(orientation: int, tmp_path: Path) -> None:
    """Its upper left corner is dark, and so it is again after it was stored in any of the eight ways."""
    upright = Image.new("L", (64, 32), 200)
    upright.paste(20, (0, 0, 16, 16))
    marked = upright.copy()
    marked.getexif()[0x0112] = orientation
    # What turns the stored picture upright is undone by applying its inverse to the picture first.
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    stored = upright.copy()
    stored.getexif()[0x0112] = inverse
    stored = ImageOps.exif_transpose(stored)
    exif = Image.Exif()
    exif[0x0112] = orientation
    read = read_picture(saved(stored, tmp_path / "a.jpg", exif=exif, quality=95))
    assert read.shape == (32, 64)
    assert read[:12, :12].float().mean() < 30
    assert read[20:, 30:].float().mean() > 190


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    """By an alpha channel, of colours and of grey; by a colour that stands for it; by an entry of a palette."""
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    clear.paste((255, 0, 0, 255), (0, 0, 2, 4))
    for name, picture, options in (
        ("rgba", clear, {}),
        ("la", clear.convert("LA"), {}),
        ("rgb", clear.convert("RGB"), {"transparency": (0, 0, 0)}),
        ("l", clear.convert("RGB").convert("L"), {"transparency": 0}),
        ("p", clear.convert("RGB").quantize(4), {"transparency": clear.convert("RGB").quantize(4).getpixel((3, 3))}),
    ):
        read = read_picture(saved(picture, tmp_path / f"{name}.png", **options))
        assert (read[:, 2:] == 255).all(), name
        assert (read[:, :2] == 76).all(), name


def test_half_transparent_is_mixed_with_white(tmp_path: Path) -> None:
    read = read_picture(saved(Image.new("RGBA", (2, 2), (0, 0, 0, 128)), tmp_path / "a.png"))
    assert (read == 127).all()


def test_of_sixteen_bits_the_upper_eight_are_kept(tmp_path: Path) -> None:
    values = np.array([[0, 255, 256, 1000], [32767, 32768, 65279, 65535]], dtype=np.uint16)
    path = saved(Image.fromarray(values), tmp_path / "a.png")
    assert read_picture(path).tolist() == [[0, 0, 1, 3], [127, 128, 254, 255]]
    assert torch.equal(read_picture(path, colour=True)[1], read_picture(path))
    path = saved(Image.fromarray(values), tmp_path / "b.png", transparency=1000)
    assert read_picture(path)[0].tolist() == [0, 0, 1, 255]


@pytest.mark.parametrize("mode", ["1", "P", "CMYK", "YCbCr"])
def test_other_kinds_of_colour_are_read(mode: str, tmp_path: Path) -> None:
    picture = Image.fromarray(np.where(RANDOM[..., :1] > 127, 255, 0).astype(np.uint8).repeat(3, 2))
    path = tmp_path / ("a.jpg" if mode in ("CMYK", "YCbCr") else "a.png")
    saved(picture.convert(mode), path, **({"quality": 100} if path.suffix == ".jpg" else {}))
    error = (read_picture(path).double() - torch.from_numpy(RANDOM[..., 0] > 127).double() * 255).abs()
    assert error.mean() < 3


def test_an_open_file_is_read(tmp_path: Path) -> None:
    path = saved(Image.fromarray(RANDOM), tmp_path / "a.png")
    assert torch.equal(read_picture(io.BytesIO(path.read_bytes())), read_picture(str(path)))
    with open(path, "rb") as stream:
        assert torch.equal(read_picture(stream), read_picture(path))


def test_the_camera_of_a_telephone_may_write_several_pictures_into_a_jpeg(tmp_path: Path) -> None:
    """The format MPO, in a file that ends in .jpg."""
    first = Image.fromarray(RANDOM)
    path = tmp_path / "a.jpg"
    first.save(path, format="MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))])
    assert read_picture(path).shape == (30, 40)


DAMAGED = {
    "a.png": (b"", "a.png is empty; copy it again, or leave it out"),
    "b.png": (b"letters", "b.png is no PNG or JPEG, or its beginning is damaged; convert it, or leave it out"),
    "c.jpg": (b"GIF89a" + bytes(50), "c.jpg is no PNG or JPEG"),
    "d.jpg": (b"\0\0\0\x18ftypheic" + bytes(50), "on an iPhone, Settings > Camera > Formats > Most Compatible"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_no_picture_is_named(name: str, tmp_path: Path) -> None:
    content, message = DAMAGED[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_picture(tmp_path / name)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.95])
def test_a_file_that_is_cut_off_is_named(suffix: str, part: float, tmp_path: Path) -> None:
    path = saved(Image.fromarray(RANDOM), tmp_path / f"a.{suffix}")
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(ValueError, match=rf"a.{suffix} is (damaged or not whole|no PNG or JPEG)"):
        read_picture(path)


@pytest.mark.parametrize("seed", range(30))
def test_a_file_with_a_wrong_byte_is_read_or_named(seed: int, tmp_path: Path) -> None:
    """Never anything else, whichever byte it is."""
    draw = np.random.default_rng(seed)
    path = saved(Image.fromarray(RANDOM), tmp_path / ("a.png" if seed % 2 else "a.jpg"))
    content = bytearray(path.read_bytes())
    for place in draw.integers(0, min(len(content), 600), 3):
        content[place] = draw.integers(256)
    path.write_bytes(content)
    said = str(path)
    try:
        read_picture(path)
    except ValueError as error:
        said = str(error)
    assert str(path) in said


def test_a_missing_file_a_folder_and_a_wrong_argument_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"b.png is missing; name a PNG or JPEG file"):
        read_picture(tmp_path / "b.png")
    with pytest.raises(FileNotFoundError, match="is a folder; name a PNG or JPEG file"):
        read_picture(tmp_path)
    with pytest.raises(ValueError, match="file is 3; it must be a path, or a binary file that is open"):
        read_picture(3)
    with pytest.raises(ValueError, match="the file was opened as text; open it as binary"):
        read_picture(io.StringIO("letters"))
    with pytest.raises(ValueError, match="size is 0; it must be at least 1"):
        read_picture(saved(Image.fromarray(RANDOM), tmp_path / "a.png"), size=0)


def test_a_picture_with_too_many_pixels_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow refuses twice its limit; what is between the two, as from the largest cameras, is read."""
    path = saved(Image.fromarray(RANDOM), tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert read_picture(path).shape == (30, 40)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(ValueError, match=r"a.png has too many pixels .* make it smaller"):
        read_picture(path)


def test_files_of_a_folder_are_sorted_without_hidden_ones(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpeg", "c.JPG", ".DS_Store", "._a.jpeg", "Thumbs.db", "desktop.ini"):
        (tmp_path / name).touch()
    (tmp_path / ".ipynb_checkpoints").mkdir()
    assert [path.name for path in pictures.picture_files(tmp_path)] == ["a.jpeg", "b.PNG", "c.JPG"]
