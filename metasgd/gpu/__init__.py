"""The complete GPU Meta-SGD as one program, whose parts chapter 10 shows."""
