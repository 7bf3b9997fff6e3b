package main

// What the models of IAM and STS do not say, typed by hand.

// A queryOverlay is what is known by hand of a service of the query protocol.
type queryOverlay struct {
	routed []string // the operations that are generated; others are InvalidAction
	// readOnlyPrefixes begin the names of operations that change nothing, as
	// CloudTrail has it. It shows the answers of the others.
	readOnlyPrefixes []string
	shown            []string // operations that change nothing, and whose answers it shows
	hidden           []string // members of inputs that it does not show
	sensitive        []string // shapes that are secret, besides those that the model calls so
	// veiled are the members, by structure, of which CloudTrail shows that they
	// are there.
	veiled    map[string][]string
	documents string // the shape of policy documents, which answers escape
	// names and paths are shapes of which a wrong character is told in IAM's
	// own words.
	names, paths []string
	// mute: what is said of a value that breaks a constraint does not repeat it.
	mute bool
	// always are the lists in structures of answers that are there even if they
	// are empty, as those of an output are in any case.
	always map[string][]string
	// given are the members of inputs of which the handler must know whether
	// they are there but empty.
	given map[string]string
}

var iamOverlay = queryOverlay{
	routed: []string{
		"CreateUser", "GetUser", "ListUsers", "UpdateUser", "DeleteUser", "TagUser", "UntagUser", "ListUserTags",
		"CreateAccessKey", "UpdateAccessKey", "ListAccessKeys", "DeleteAccessKey",
		"CreateGroup", "GetGroup", "ListGroups", "UpdateGroup", "DeleteGroup", "AddUserToGroup", "RemoveUserFromGroup", "ListGroupsForUser",
		"CreateRole", "GetRole", "ListRoles", "UpdateRole", "UpdateRoleDescription", "UpdateAssumeRolePolicy", "DeleteRole",
		"TagRole", "UntagRole", "ListRoleTags", "ListInstanceProfilesForRole",
		"PutUserPolicy", "GetUserPolicy", "DeleteUserPolicy", "ListUserPolicies",
		"PutGroupPolicy", "GetGroupPolicy", "DeleteGroupPolicy", "ListGroupPolicies",
		"PutRolePolicy", "GetRolePolicy", "DeleteRolePolicy", "ListRolePolicies",
		"AttachUserPolicy", "DetachUserPolicy", "ListAttachedUserPolicies",
		"AttachGroupPolicy", "DetachGroupPolicy", "ListAttachedGroupPolicies",
		"AttachRolePolicy", "DetachRolePolicy", "ListAttachedRolePolicies",
		"PutUserPermissionsBoundary", "DeleteUserPermissionsBoundary",
		"PutRolePermissionsBoundary", "DeleteRolePermissionsBoundary",
		"CreatePolicy", "GetPolicy", "ListPolicies", "DeletePolicy", "ListEntitiesForPolicy",
		"CreatePolicyVersion", "GetPolicyVersion", "ListPolicyVersions", "SetDefaultPolicyVersion", "DeletePolicyVersion",
		"TagPolicy", "UntagPolicy", "ListPolicyTags",
		"CreateVirtualMFADevice", "EnableMFADevice", "ResyncMFADevice", "DeactivateMFADevice", "DeleteVirtualMFADevice",
		"GetMFADevice", "ListMFADevices", "ListVirtualMFADevices", "TagMFADevice", "UntagMFADevice", "ListMFADeviceTags",
		"CreateOpenIDConnectProvider", "GetOpenIDConnectProvider", "ListOpenIDConnectProviders", "DeleteOpenIDConnectProvider",
		"AddClientIDToOpenIDConnectProvider", "RemoveClientIDFromOpenIDConnectProvider", "UpdateOpenIDConnectProviderThumbprint",
		"TagOpenIDConnectProvider", "UntagOpenIDConnectProvider", "ListOpenIDConnectProviderTags",
		"GetAccountSummary", "GetAccountAuthorizationDetails",
		"GenerateCredentialReport", "GetCredentialReport", "GetAccessKeyLastUsed",
		"SimulatePrincipalPolicy", "SimulateCustomPolicy", "GetContextKeysForPrincipalPolicy", "GetContextKeysForCustomPolicy",
	},
	readOnlyPrefixes: []string{"Generate", "Get", "List", "Simulate"},
	documents:        "PolicyDocumentType",
	names: []string{
		"UserNameType", "ExistingUserNameType", "GroupNameType", "RoleNameType", "PolicyNameType",
	},
	paths: []string{"PathType"},
	always: map[string][]string{
		"UserDetail":             {"GroupList", "AttachedManagedPolicies", "Tags"},
		"GroupDetail":            {"GroupPolicyList", "AttachedManagedPolicies"},
		"RoleDetail":             {"InstanceProfileList", "RolePolicyList", "AttachedManagedPolicies", "Tags"},
		"ManagedPolicyDetail":    {"PolicyVersionList"},
		"EvaluationResult":       {"MatchedStatements", "MissingContextValues"},
		"ResourceSpecificResult": {"MatchedStatements", "MissingContextValues"},
	},
	hidden: []string{"AuthenticationCode1", "AuthenticationCode2"},
	mute:   true, // as recorded answers of IAM have it since 2022 or so; those of STS repeat it
	given:  map[string]string{"UpdateRole": "Description"},
}

var stsOverlay = queryOverlay{
	routed:           []string{"AssumeRole", "AssumeRoleWithWebIdentity", "GetAccessKeyInfo", "GetCallerIdentity", "GetFederationToken", "GetSessionToken"},
	readOnlyPrefixes: []string{"Assume", "Decode", "Get"},
	shown:            []string{"AssumeRole", "AssumeRoleWithWebIdentity", "GetFederationToken", "GetSessionToken"},
	hidden:           []string{"TokenCode", "WebIdentityToken"},
	sensitive:        []string{"TokenType"},
	// CloudTrail has the whole token. A trail is no place for it, though it is of
	// no use without the secret. What a provider asserts of a user is signed, and
	// whoever has it can pass for having been given it.
	veiled: map[string][]string{"Credentials": {"SessionToken"}, "ProvidedContext": {"ContextAssertion"}},
}
