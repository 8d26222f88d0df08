"""The permissions of the contract, each with its prefix."""

CREDENTIAL_CREATE = "AccessControl.CredentialCreate"
CREDENTIAL_MODIFY = "AccessControl.CredentialModify"
CREDENTIAL_VIEW = "AccessControl.CredentialView"
USER_MODIFY = "AccessControl.UserModify"
USER_VIEW = "AccessControl.UserView"

PERMISSIONS = [CREDENTIAL_CREATE, CREDENTIAL_MODIFY, CREDENTIAL_VIEW, USER_MODIFY, USER_VIEW]
