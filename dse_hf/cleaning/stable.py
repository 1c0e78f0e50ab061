"""Takes out of audio files what libsndfile writes anew every time, so that equal audio has equal bytes."""


def stable(content: bytes) -> bytes:
    """Sets the date in a wav or aiff of floats to zero, and the random number of an ogg stream to one."""
    if content[:4] == b"OggS":
        return _renumbered(bytearray(content))
    start = content.find(b"PEAK", 0, 512)
    if content[:4] in (b"RIFF", b"RF64", b"FORM") and start > 0:
        date = start + 12  # after the name, the size and the version
        return content[:date] + bytes(4) + content[date + 4 :]
    return content


_CRC = 0x104C11DB7  # the polynomial of ogg's check sum


def _renumbered(content: bytearray) -> bytes:
    """An ogg file whose stream has the number 1."""
    position, number = 0, (1).to_bytes(4, "little")
    while content[position : position + 4] == b"OggS":
        segments = content[position + 26]
        end = position + 27 + segments + sum(content[position + 27 : position + 27 + segments])
        old = content[position + 14 : position + 18]
        change = int.from_bytes(old, "big") ^ int.from_bytes(number, "big")
        # The check sum is linear: it changes by that of the difference, which zeros follow.
        check = int.from_bytes(content[position + 22 : position + 26], "little")
        check ^= _product(change, _power(8 * (end - position - 18) + 32))
        content[position + 14 : position + 18] = number
        content[position + 22 : position + 26] = check.to_bytes(4, "little")
        position = end
    return bytes(content)


def _product(a: int, b: int) -> int:
    """Of two polynomials over the field of two elements, modulo `_CRC`."""
    result = 0
    while b:
        if b & 1:
            result ^= a
        b >>= 1
        a <<= 1
        if a >> 32:
            a ^= _CRC
    return result


def _power(exponent: int) -> int:
    """x to the power of `exponent`, modulo `_CRC`."""
    result, base = 1, 2
    while exponent:
        if exponent & 1:
            result = _product(result, base)
        base = _product(base, base)
        exponent >>= 1
    return result
