"""What holds for leases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from headway.testing.contracts.state import State


class LeaseStoreContract:
    def test_one_holder_at_a_time(self, state: State) -> None:
        leases, now = state.stores.leases, state.clock.now()
        lease = leases.take("conductor", "a", now, 10)
        assert lease is not None
        assert (lease.holder, lease.expires_at) == ("a", now + timedelta(seconds=10))
        assert leases.take("conductor", "b", now, 10) is None
        assert leases.take("scheduler", "b", now, 10) is not None

    def test_the_holder_prolongs_under_the_same_token(self, state: State) -> None:
        leases, now = state.stores.leases, state.clock.now()
        lease = leases.take("conductor", "a", now, 10)
        longer = leases.take("conductor", "a", now + timedelta(seconds=5), 10)
        assert lease is not None
        assert longer == lease.but(expires_at=now + timedelta(seconds=15))

    def test_an_expired_lease_goes_to_the_next_under_a_higher_token(self, state: State) -> None:
        leases, now = state.stores.leases, state.clock.now()
        lease = leases.take("conductor", "a", now, 10)
        taken = leases.take("conductor", "b", now + timedelta(seconds=10), 10)
        assert lease is not None
        assert taken is not None
        assert taken.token > lease.token
        with state.act():
            assert leases.held("conductor", taken.token)
            assert not leases.held("conductor", lease.token)
        leases.give_back(lease)
        assert leases.held("conductor", taken.token), "a late worker gives nothing back that is another's"

    def test_given_back_it_is_free_at_once(self, state: State) -> None:
        leases, now = state.stores.leases, state.clock.now()
        lease = leases.take("conductor", "a", now, 10)
        assert lease is not None
        leases.give_back(lease)
        assert not leases.held("conductor", lease.token)
        again = leases.take("conductor", "a", now, 10)
        assert again is not None
        assert again.token > lease.token
        assert not leases.held("unknown", 1)

    def test_of_many_at_once_one_gets_it(self, state: State) -> None:
        now = state.clock.now()
        with ThreadPoolExecutor(8) as threads:
            taken = list(threads.map(lambda holder: state.stores.leases.take("conductor", holder, now, 10), "abcdefgh"))
        assert sum(lease is not None for lease in taken) == 1

    def test_it_is_not_taken_inside_an_act(self, state: State) -> None:
        with state.act(), pytest.raises(RuntimeError):
            state.stores.leases.take("conductor", "a", state.clock.now(), 10)

    def test_taking_a_lease_wakes_nobody(self, state: State) -> None:
        state.stores.leases.take("conductor", "a", state.clock.now(), 10)
        assert not state.journal.wait(0.01)
