"""A block is written again only when nobody can see it any more."""

import gc
import threading

from wattfleet_native.blocks import Blocks


def test_a_block_comes_back_when_its_last_slice_is_gone() -> None:
    blocks = Blocks(100, most_idle=2)
    block = blocks.take()
    part = block[10:20]
    part[:] = b"0123456789"
    del block
    gc.collect()
    other = blocks.take()
    other[:] = bytes(100)
    assert bytes(part) == b"0123456789"
    del part
    gc.collect()
    assert bytes(blocks.take()[10:20]) == b"0123456789", "as it was left"


def test_a_thread_that_still_sends_keeps_its_block() -> None:
    blocks, go_on, sent = Blocks(4, most_idle=2), threading.Event(), []
    block = blocks.take()
    block[:] = b"mine"

    def send(piece: memoryview) -> None:
        go_on.wait(10)
        sent.append(bytes(piece))

    thread = threading.Thread(target=send, args=(block[:],))
    thread.start()
    del block
    for _ in range(3):
        blocks.take()[:] = b"hers"
    go_on.set()
    thread.join(10)
    assert sent == [b"mine"]


def test_no_more_than_so_many_are_kept() -> None:
    blocks = Blocks(8, most_idle=1)
    both = [blocks.take(), blocks.take()]
    both[0][:], both[1][:] = b"a" * 8, b"b" * 8
    both.clear()
    gc.collect()
    assert len(blocks._idle) == 1
