import pytest

from domain.policies.policy import DEFAULT_POLICY, HashAlgorithm, InvalidPolicy, TicketPolicy
from domain.policies.policy_definition import PolicyDefinition, PolicyKey
from tests.support.fakes import attribution


def test_the_built_in_policy_is_valid() -> None:
    DEFAULT_POLICY.check()

    assert DEFAULT_POLICY.entropy_bits > 112


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (TicketPolicy(ticket_length=0), "ticketLength must be 1 to 200"),
        (TicketPolicy(ticket_length=201), "ticketLength must be 1 to 200"),
        (TicketPolicy(ticket_character_set="aab" * 20), "a character twice"),
        (TicketPolicy(ticket_character_set="ab\n"), "printable ASCII"),
        (TicketPolicy(ticket_character_set=""), "0 bits; at least 20 are needed"),
        (TicketPolicy(ticket_length=3), "at least 20 are needed (NIST SP 800-63B"),
        (TicketPolicy(ticket_length=3, hash_algorithm=HashAlgorithm.ARGON2ID), "at least 20 are needed"),
        (TicketPolicy(ticket_length=8), "below 112 hashAlgorithm must be ARGON2ID (ASVS 6.5.2)"),
        (TicketPolicy(ticket_group_size=0), "ticketGroupSize must be -1 (off) or 1 to 200"),
        (TicketPolicy(ticket_group_size=201), "ticketGroupSize must be -1 (off) or 1 to 200"),
        (TicketPolicy(credential_lifetime=0), "credentialLifetime"),
        (TicketPolicy(max_cred_failure_count=0), "maxCredFailureCount"),
        (TicketPolicy(max_cred_failure_count=101), "maxCredFailureCount"),
        (TicketPolicy(tmp_locking_threshold=0), "tmpLockingThreshold"),
        (TicketPolicy(tmp_locking_duration=999), "tmpLockingDuration must be 1000 ms"),
        (
            TicketPolicy(
                max_cred_failure_count=-1,
                tmp_locking_threshold=100,
                tmp_locking_duration=1,
                ticket_length=20,
                ticket_character_set="ab",
                hash_algorithm=HashAlgorithm.ARGON2ID,
            ),
            "tmpLockingDuration must be 1000 ms",
        ),
        (TicketPolicy(max_cred_failure_count=-1, tmp_locking_threshold=-1), "must not both be -1"),
        (TicketPolicy(close_to_expiration_threshold=-2), "closeToExpirationThreshold"),
        (TicketPolicy(sending_method=()), "sendingMethod"),
    ],
    ids=str,
)
def test_a_policy_that_breaks_a_rule_is_refused_with_the_rule(policy: TicketPolicy, message: str) -> None:
    with pytest.raises(InvalidPolicy) as refused:
        policy.check()

    assert message in str(refused.value)


def test_each_fault_has_a_separate_message() -> None:
    with pytest.raises(InvalidPolicy) as refused:
        TicketPolicy(ticket_length=0, credential_lifetime=0, sending_method=()).check()

    assert len(str(refused.value).splitlines()) == 4


def test_a_weak_ticket_is_valid_with_a_password_hash() -> None:
    TicketPolicy(ticket_length=8, hash_algorithm=HashAlgorithm.ARGON2ID).check()


def test_defining_an_unchanged_policy_emits_nothing() -> None:
    key = PolicyKey("c", "p")
    definition = PolicyDefinition.of(key, None)
    definition.define(key, TicketPolicy(), is_default=False, by=attribution())
    definition.collect_events()

    definition.define(key, TicketPolicy(), is_default=False, by=attribution())
    definition.withdraw_default(by=attribution())

    assert definition.collect_events() == []
