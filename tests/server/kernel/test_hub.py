"""Each event wakes all who want it, or one of those who can take it alone; none is lost on the way."""

import asyncio

from larder_server.kernel.hub import Hub
from larder_server.kernel.outbox import Event

RANG = Event(name="rang", subject="r1")
LONG = 60.0


def hub():
    hub = Hub()
    hub.attach(asyncio.get_running_loop())
    return hub


def line(hub, *, alone=True, wants=lambda event: True, names=frozenset({"rang"})):
    return hub.waiter("acme", wants, alone=alone, names=names)


def test_a_wait_ends_with_its_time():
    async def wait():
        with line(hub()) as waiter:
            return await waiter.wait(0.01)

    assert asyncio.run(wait()) is False


def test_an_event_wakes_who_sleeps_and_who_is_about_to():
    async def wait():
        bell = hub()
        with line(bell) as waiter:
            bell.publish("acme", [RANG])
            sleeping = await waiter.wait(LONG)
            bell.publish("acme", [RANG])
            await asyncio.sleep(0)
            woken_before = await waiter.wait(LONG)
            return sleeping, woken_before, waiter.event, await waiter.wait(0)

    assert asyncio.run(wait()) == (True, True, RANG, False)


def test_one_event_wakes_one_of_those_who_are_alone_and_all_others():
    async def wait():
        bell = hub()
        with line(bell) as first, line(bell) as second, line(bell, alone=False) as watcher:
            bell.publish("acme", [RANG])
            await asyncio.sleep(0)
            return first.woken, second.woken, watcher.woken

    assert asyncio.run(wait()) == (True, False, True)


def test_who_is_woken_in_the_moment_of_leaving_wakes_the_next():
    async def wait():
        bell = hub()
        with line(bell) as second:
            # the second stands behind the first
            with line(bell) as first:
                bell._lines["acme", "rang"].alone = {first: None, second: None}
                bell.publish("acme", [RANG])
                await asyncio.sleep(0)
                before = second.woken
            return before, second.woken

    assert asyncio.run(wait()) == (False, True)


def test_who_has_no_use_for_an_event_passes_it_on():
    async def wait():
        bell = hub()
        with line(bell) as first, line(bell) as second:
            bell.publish("acme", [RANG])
            assert await first.wait(LONG)
            bell.pass_on("acme", RANG, after=first)
            return await second.wait(LONG), second.event

    assert asyncio.run(wait()) == (True, RANG)


def test_a_wait_that_is_cancelled_leaves_no_timer_and_no_place_in_line():
    async def wait():
        bell = hub()

        async def stand():
            with line(bell) as waiter:
                await waiter.wait(LONG)

        standing = asyncio.create_task(stand())
        await asyncio.sleep(0)
        assert bell.waiting == 1
        standing.cancel()
        await asyncio.gather(standing, return_exceptions=True)
        timers = [timer for timer in asyncio.get_running_loop()._scheduled if not timer.cancelled()]
        return bell.waiting, bell._lines, timers

    assert asyncio.run(wait()) == (0, {}, [])


def test_a_hub_that_closes_wakes_everybody():
    async def wait():
        bell = hub()
        with line(bell) as first, line(bell, alone=False) as second:
            bell.close()
            return await first.wait(LONG), await second.wait(LONG), first.event

    assert asyncio.run(wait()) == (True, True, None)
