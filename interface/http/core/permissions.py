"""The permissions of the contract, each with its prefix."""

CREDENTIAL_CREATE = "AccessControl.CredentialCreate"
CREDENTIAL_MODIFY = "AccessControl.CredentialModify"
CREDENTIAL_VIEW = "AccessControl.CredentialView"
CREDENTIAL_DELETE = "AccessControl.CredentialDelete"
CREDENTIAL_VERIFY = "AccessControl.CredentialVerify"
EVENT_VIEW = "AccessControl.EventView"
HISTORY_VIEW = "AccessControl.HistoryView"
POLICY_MODIFY = "AccessControl.PolicyModify"
POLICY_VIEW = "AccessControl.PolicyView"
SUBSCRIPTION_MODIFY = "AccessControl.SubscriptionModify"
SUBSCRIPTION_VIEW = "AccessControl.SubscriptionView"
USER_MODIFY = "AccessControl.UserModify"
USER_VIEW = "AccessControl.UserView"

PERMISSIONS = [
    CREDENTIAL_CREATE,
    CREDENTIAL_DELETE,
    CREDENTIAL_MODIFY,
    CREDENTIAL_VERIFY,
    CREDENTIAL_VIEW,
    EVENT_VIEW,
    HISTORY_VIEW,
    POLICY_MODIFY,
    POLICY_VIEW,
    SUBSCRIPTION_MODIFY,
    SUBSCRIPTION_VIEW,
    USER_MODIFY,
    USER_VIEW,
]
