from hypothesis import given
from hypothesis import strategies as st

from application.record.merkle import (
    EMPTY_ROOT,
    consistency_proof,
    inclusion_proof,
    is_consistent,
    leaf_hash,
    root_from_inclusion,
    root_of,
    subtree_of,
)

# The reference tree of certificate transparency (RFC 6962, RFC 9162).
ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def test_the_roots_of_the_reference_tree() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert [root_of(LEAVES[:size]).hex() for size in range(1, 9)] == ROOTS


def test_the_proofs_of_the_reference_tree() -> None:
    inclusion = inclusion_proof(0, 8, subtree_of(LEAVES))
    consistency = consistency_proof(6, 8, subtree_of(LEAVES))

    assert [node.hex() for node in inclusion] == [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]
    assert [node.hex() for node in consistency] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


@given(st.integers(1, 70), st.data())
def test_an_inclusion_proof_proves_only_its_leaf(size: int, data: st.DataObject) -> None:
    leaves = [leaf_hash(b"%d" % number) for number in range(size)]
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, size, subtree_of(leaves))

    assert root_from_inclusion(leaves[index], index, size, proof) == root_of(leaves)
    assert root_from_inclusion(leaf_hash(b"other"), index, size, proof) != root_of(leaves)
    assert root_from_inclusion(leaves[index], index, size, [*proof, leaves[0]]) != root_of(leaves)
    assert root_from_inclusion(leaves[index], size, size, proof) is None


@given(st.integers(1, 70), st.data())
def test_a_consistency_proof_proves_only_its_prefix(size: int, data: st.DataObject) -> None:
    leaves = [leaf_hash(b"%d" % number) for number in range(size)]
    old = data.draw(st.integers(1, size))
    proof = consistency_proof(old, size, subtree_of(leaves))
    other = root_of([leaf_hash(b"other"), *leaves[1:old]])

    assert is_consistent(old, root_of(leaves[:old]), size, root_of(leaves), proof)
    assert not is_consistent(old, other, size, root_of(leaves), proof)
    assert not is_consistent(old, root_of(leaves[:old]), size, other, proof)
