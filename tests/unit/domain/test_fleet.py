"""The indexes of the fleet stay those of its nodes, whatever comes and goes."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edumeet_recording.domain.fleet import Fleet, NodeSnapshot, PoolKind
from edumeet_recording.domain.price import Price

NODE = NodeSnapshot("a", "eu", True, None, False, True, 1000, 0)
CHANGES = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from(["put", "remove", "promise"]),
        st.booleans(),
        st.booleans(),
        st.integers(0, 9),
        st.sampled_from(["eu", "us"]),
    ),
    max_size=30,
)


@given(CHANGES)
def test_every_order_has_the_open_nodes_of_its_pool(changes: list[tuple[str, str, bool, bool, int, str]]) -> None:
    fleet, told = Fleet(), dict[str, NodeSnapshot]()
    for node_id, what, well, gpu, load, region in changes:
        if what == "put":
            told[node_id] = replace(NODE, id=node_id, is_healthy=well, has_gpu=gpu, load_mcpu=load, region=region)
            fleet.put(told[node_id])
        elif what == "remove":
            told.pop(node_id, None)
            fleet.remove(node_id)
        else:
            fleet.promise(node_id, Price(load, 1, 2))
            if node_id in told:
                before = told[node_id]
                told[node_id] = replace(
                    before, load_mcpu=before.load_mcpu + load, load_bytes_per_s=before.load_bytes_per_s + 2
                )
                assert fleet.last_promised == node_id
    assert (dict(fleet.nodes), len(fleet)) == (told, len(told))
    assert {node.id for node in fleet.closed()} == {node.id for node in told.values() if not node.is_healthy}
    assert +fleet.closed_by() == ({"unhealthy": n} if (n := sum(not node.is_healthy for node in told.values())) else {})
    for region in ("eu", "us"):
        for kind in PoolKind:
            nodes = [
                each for each in told.values() if each.is_healthy and (each.region, each.pool_kind) == (region, kind)
            ]
            pool = fleet.pool(region, kind)
            if pool is None:
                assert not nodes
                continue
            assert pool.by_id == sorted(each.id for each in nodes)
            assert pool.by_free == sorted((each.free_mcpu, each.id) for each in nodes)
            assert pool.by_share == sorted((-each.free_share, each.id) for each in nodes)
    assert fleet.regions == {node.region for node in told.values() if node.is_healthy}
