package main

// What the models of Organizations, Account Management and CloudTrail do not say,
// typed by hand.

// A jsonOverlay is what is known by hand of a service of the JSON protocols.
type jsonOverlay struct {
	routed []string // the operations that are generated; others are UnknownOperationException
	// readOnlyPrefixes begin the names of operations that change nothing, as
	// CloudTrail has it. It shows the answers of the others.
	readOnlyPrefixes []string
	// masked are the shapes of which CloudTrail shows that they are there.
	masked []string
	// always are the lists and strings of answers that are there even if they are
	// empty, by structure, besides the lists of the outputs themselves.
	always map[string][]string
	// sometimes are the lists of outputs that are left out if they are absent, by
	// structure.
	sometimes map[string][]string
	// flags are the booleans of inputs whose absence is told from false, by
	// structure.
	flags map[string][]string
	// newer adds what is newer than the model.
	newer func(*sdkModel)
	// invalid is the code of the error for a broken constraint, and violated
	// what returns it, in Go.
	invalid, violated string
}

var jsonServices = []jsonService{
	{
		name: "Organizations", pkg: "organizationsapi", protocol: "json",
		model: "models/apis/organizations/2016-11-28/api-2.json", jsonOverlay: organizationsOverlay,
	},
	{
		name: "Account Management", pkg: "accountapi", protocol: "rest-json",
		model: "models/apis/account/2021-02-01/api-2.json", jsonOverlay: accountOverlay,
	},
	{
		name: "CloudTrail", pkg: "cloudtrailapi", protocol: "json",
		model: "models/apis/cloudtrail/2013-11-01/api-2.json", jsonOverlay: cloudtrailOverlay,
	},
}

var organizationsOverlay = jsonOverlay{
	routed: []string{
		"CreateOrganization", "DescribeOrganization", "DeleteOrganization", "ListRoots",
		"CreateOrganizationalUnit", "UpdateOrganizationalUnit", "DeleteOrganizationalUnit", "DescribeOrganizationalUnit",
		"ListOrganizationalUnitsForParent", "ListParents", "ListChildren",
		"ListAccounts", "ListAccountsForParent", "DescribeAccount",
		"CreateAccount", "DescribeCreateAccountStatus", "ListCreateAccountStatus",
		"MoveAccount", "RemoveAccountFromOrganization", "CloseAccount",
		"EnablePolicyType", "DisablePolicyType",
		"CreatePolicy", "UpdatePolicy", "DeletePolicy", "DescribePolicy", "ListPolicies",
		"AttachPolicy", "DetachPolicy", "ListPoliciesForTarget", "ListTargetsForPolicy", "DescribeEffectivePolicy",
		"TagResource", "UntagResource", "ListTagsForResource",
		"ListAWSServiceAccessForOrganization", "ListDelegatedAdministrators",
	},
	readOnlyPrefixes: []string{"Describe", "List"},
	masked:           []string{"Email", "AccountName", "CreateAccountName"},
	always: map[string][]string{
		"Root":         {"PolicyTypes"},
		"Organization": {"AvailablePolicyTypes"},
	},
	newer:    newerOrganizations,
	invalid:  "InvalidInputException",
	violated: "v.InvalidInput()",
}

func newerOrganizations(m *sdkModel) {
	newest := []string{
		"CHATBOT_POLICY", "DECLARATIVE_POLICY_EC2", "SECURITYHUB_POLICY", "INSPECTOR_POLICY",
		"UPGRADE_ROLLOUT_POLICY", "BEDROCK_POLICY", "S3_POLICY", "NETWORK_SECURITY_DIRECTOR_POLICY",
	}
	m.addValues("PolicyType", append([]string{"RESOURCE_CONTROL_POLICY"}, newest...)...)
	m.addValues("EffectivePolicyType", newest...)
	m.Shapes["Path"] = &sdkShape{Type: "string"}
	m.Shapes["Paths"] = &sdkShape{Type: "list", Member: &sdkReference{Shape: "Path"}}
	m.Shapes["AccountState"] = &sdkShape{
		Type: "string",
		Enum: []string{"PENDING_ACTIVATION", "ACTIVE", "SUSPENDED", "PENDING_CLOSURE", "CLOSED"},
	}
	m.addMember("OrganizationalUnit", "Path", "Path")
	m.addMember("Account", "State", "AccountState")
	m.addMember("Account", "Paths", "Paths")
}

var accountOverlay = jsonOverlay{
	routed:           []string{"DisableRegion", "EnableRegion", "GetRegionOptStatus", "ListRegions"},
	readOnlyPrefixes: []string{"Get", "List"},
	invalid:          "ValidationException",
	violated:         "v.InvalidField()",
}

var cloudtrailOverlay = jsonOverlay{
	routed: []string{
		"CreateTrail", "UpdateTrail", "DeleteTrail", "DescribeTrails", "GetTrail", "ListTrails",
		"StartLogging", "StopLogging", "GetTrailStatus",
		"PutEventSelectors", "GetEventSelectors",
		"AddTags", "RemoveTags", "ListTags",
		"LookupEvents", "ListPublicKeys",
	},
	readOnlyPrefixes: []string{"Describe", "Get", "List", "Lookup", "Search"},
	always: map[string][]string{
		"Event":       {"Resources"},
		"ResourceTag": {"TagsList"},
		// Members that are no longer in use: AWS sends them, and empty.
		"GetTrailStatusResponse": {
			"LatestDeliveryAttemptTime", "LatestNotificationAttemptTime", "LatestNotificationAttemptSucceeded",
			"LatestDeliveryAttemptSucceeded", "TimeLoggingStarted", "TimeLoggingStopped",
		},
	},
	sometimes: map[string][]string{
		"GetEventSelectorsResponse": {"EventSelectors", "AdvancedEventSelectors"},
		"PutEventSelectorsResponse": {"EventSelectors", "AdvancedEventSelectors"},
	},
	flags: map[string][]string{
		"CreateTrailRequest": {
			"IncludeGlobalServiceEvents", "IsMultiRegionTrail", "EnableLogFileValidation", "IsOrganizationTrail",
		},
		"UpdateTrailRequest": {
			"IncludeGlobalServiceEvents", "IsMultiRegionTrail", "EnableLogFileValidation", "IsOrganizationTrail",
		},
		"DescribeTrailsRequest": {"includeShadowTrails"},
		"EventSelector":         {"IncludeManagementEvents"},
	},
	newer:    newerCloudtrail,
	invalid:  "ValidationException",
	violated: "v.Err()",
}

// newerCloudtrail takes away two limits, too, for which CloudTrail has errors of
// its own: of lists of tags, and of how many results a page has.
func newerCloudtrail(m *sdkModel) {
	m.Shapes["TagsList"].Max = nil
	m.Shapes["MaxResults"].Min, m.Shapes["MaxResults"].Max = nil, nil
}
