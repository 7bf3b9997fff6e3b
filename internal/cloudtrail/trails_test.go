package cloudtrail_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const create = `{"Name":"t-1","S3BucketName":"logs"}`

// TestCreateTrail: what is answered, what is there afterwards, what is recorded.
func TestCreateTrail(t *testing.T) {
	for _, test := range []struct{ name, request, answer, trail string }{
		{
			"least", create,
			`{"Name":"t-1","S3BucketName":"logs","IncludeGlobalServiceEvents":true,"IsMultiRegionTrail":false,"TrailARN":"` + arnOf(ours, home, "t-1") +
				`","LogFileValidationEnabled":false,"IsOrganizationTrail":false}`,
			`{"Trail":{"Name":"t-1","S3BucketName":"logs","IncludeGlobalServiceEvents":true,"IsMultiRegionTrail":false,"HomeRegion":"` + home + `","TrailARN":"` + arnOf(ours, home, "t-1") +
				`","LogFileValidationEnabled":false,"HasCustomEventSelectors":false,"HasInsightSelectors":false,"IsOrganizationTrail":false}}`,
		},
		{
			"all", `{"Name":"t-1","S3BucketName":"logs","S3KeyPrefix":"a/b","IncludeGlobalServiceEvents":true,"IsMultiRegionTrail":true,"EnableLogFileValidation":true,` +
				`"CloudWatchLogsLogGroupArn":"arn:aws:logs:eu-central-1:111122223333:log-group:audit:*","CloudWatchLogsRoleArn":"arn:aws:iam::111122223333:role/CloudTrail"}`,
			`{"Name":"t-1","S3BucketName":"logs","S3KeyPrefix":"a/b","IncludeGlobalServiceEvents":true,"IsMultiRegionTrail":true,"TrailARN":"` + arnOf(ours, home, "t-1") +
				`","LogFileValidationEnabled":true,"CloudWatchLogsLogGroupArn":"arn:aws:logs:eu-central-1:111122223333:log-group:audit:*",` +
				`"CloudWatchLogsRoleArn":"arn:aws:iam::111122223333:role/CloudTrail","IsOrganizationTrail":false}`,
			`{"Trail":{"Name":"t-1","S3BucketName":"logs","S3KeyPrefix":"a/b","IncludeGlobalServiceEvents":true,"IsMultiRegionTrail":true,"HomeRegion":"` + home + `","TrailARN":"` + arnOf(ours, home, "t-1") +
				`","LogFileValidationEnabled":true,"CloudWatchLogsLogGroupArn":"arn:aws:logs:eu-central-1:111122223333:log-group:audit:*",` +
				`"CloudWatchLogsRoleArn":"arn:aws:iam::111122223333:role/CloudTrail","HasCustomEventSelectors":false,"HasInsightSelectors":false,"IsOrganizationTrail":false}}`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := newEnv(t)
			a := e.call("alice", "CreateTrail", test.request)
			e.is(a.text()+string(a.body), test.answer)
			e.is(e.must("alice", "GetTrail", `{"Name":"t-1"}`), test.trail)
			if r := a.call.Resources; len(r) != 1 || r[0].ARN != arnOf(ours, home, "t-1") || r[0].Type != "AWS::CloudTrail::Trail" || r[0].Account != ours {
				t.Errorf("resources %+v", r)
			}
			if a.call.Operation.ReadOnly {
				t.Error("is recorded as read-only")
			}
		})
	}
}

// TestCreateTrailRefused: each mistake, with its error. Nothing is made.
func TestCreateTrailRefused(t *testing.T) {
	e := newEnv(t)
	e.user("carol", `{"Effect":"Allow","Action":"cloudtrail:CreateTrail","Resource":"`+arnOf(ours, home, "c-*")+`"}`)
	group := `"CloudWatchLogsLogGroupArn":"arn:aws:logs:eu-central-1:111122223333:log-group:audit:*"`
	role := `"CloudWatchLogsRoleArn":"arn:aws:iam::111122223333:role/R"`
	const badGroup = "InvalidCloudWatchLogsLogGroupArnException 400: CloudTrail cannot validate the specified log group ARN."
	long := strings.Repeat("x", 129)
	var many []string
	for i := range 51 {
		many = append(many, fmt.Sprintf(`{"Key":"k%d"}`, i))
	}
	for _, test := range []struct{ who, request, want string }{
		{"alice", `{"Name":"ab","S3BucketName":"logs"}`, "InvalidTrailNameException 400: Trail name too short. Minimum allowed length: 3 characters. Specified name length: 2 characters."},
		{"alice", `{"Name":"` + long + `","S3BucketName":"logs"}`, "InvalidTrailNameException 400: Trail name too long. Maximum allowed length: 128 characters. Specified name length: 129 characters."},
		{"alice", `{"Name":"-abc","S3BucketName":"logs"}`, "InvalidTrailNameException 400: Trail name must starts with a letter or number."},
		{"alice", `{"Name":"abc-","S3BucketName":"logs"}`, "InvalidTrailNameException 400: Trail name must ends with a letter or number."},
		{"alice", `{"Name":"a b","S3BucketName":"logs"}`, "InvalidTrailNameException 400: Trail name or ARN can only contain uppercase letters, lowercase letters, numbers, periods (.), hyphens (-), and underscores (_)."},
		{"alice", `{"Name":"aäb","S3BucketName":"logs"}`, "InvalidTrailNameException 400: Trail name or ARN can only contain uppercase letters, lowercase letters, numbers, periods (.), hyphens (-), and underscores (_)."},
		{"alice", `{"Name":"a--b","S3BucketName":"logs"}`, "InvalidTrailNameException 400: Trail name must not have adjacent periods (.), hyphens (-) or underscores (_), and must not be in the format of an IP address."},
		{"alice", `{"Name":"192.168.5.4","S3BucketName":"logs"}`, "InvalidTrailNameException 400: Trail name must not have adjacent periods (.), hyphens (-) or underscores (_), and must not be in the format of an IP address."},
		{"alice", `{"Name":"t-1","S3BucketName":"x"}`, "InvalidS3BucketNameException 400: Bucket name must be between 3 and 63 characters long: it has 1."},
		{"alice", `{"Name":"t-1","S3BucketName":"Logs"}`, "InvalidS3BucketNameException 400: Bucket name can only contain lowercase letters, numbers, periods (.) and hyphens (-), and begins and ends with a letter or number."},
		{"alice", `{"Name":"t-1","S3BucketName":"a..b"}`, "InvalidS3BucketNameException 400: Bucket name must not have adjacent periods."},
		{"alice", `{"Name":"t-1","S3BucketName":"10.0.0.1"}`, "InvalidS3BucketNameException 400: Bucket name must not be in the format of an IP address."},
		{"alice", `{"Name":"t-1","S3BucketName":"nowhere"}`, "S3BucketDoesNotExistException 400: S3 bucket nowhere does not exist!"},
		{"alice", `{"Name":"t-1","S3BucketName":"bobs-logs"}`, "InsufficientS3BucketPolicyException 400: Incorrect S3 bucket policy is detected for bucket: bobs-logs"},
		{"alice", `{"Name":"t-1","S3BucketName":"logs","S3KeyPrefix":"/a"}`, "InvalidS3PrefixException 400: S3 prefix must not begin or end with a slash, and has no control characters."},
		{"alice", `{"Name":"t-1","S3BucketName":"logs","S3KeyPrefix":"` + strings.Repeat("x", 201) + `"}`, "InvalidS3PrefixException 400: S3 prefix is longer than the maximum length of 200 characters."},
		{"alice", `{"Name":"t-1","S3BucketName":"logs","IsMultiRegionTrail":true,"IncludeGlobalServiceEvents":false}`, "InvalidParameterCombinationException 400: Multi-Region trail must include global service events."},
		{"alice", `{"Name":"t-1","S3BucketName":"logs","SnsTopicName":"topic"}`, "InsufficientSnsTopicPolicyException 400: SNS Topic does not exist or the topic policy is incorrect!"},
		{"alice", `{"Name":"t-1","S3BucketName":"logs","KmsKeyId":"alias/a"}`, "UnsupportedOperationException 400: A trail's files are encrypted as their bucket is set up, and not with a KMS key of the trail's own."},
		{"alice", `{"Name":"t-1","S3BucketName":"logs",` + group + `}`, "InvalidCloudWatchLogsRoleArnException 400: You must specify a role ARN as well as a log group."},
		{"alice", `{"Name":"t-1","S3BucketName":"logs",` + role + `}`, "InvalidCloudWatchLogsLogGroupArnException 400: You must specify a log group as well as a role ARN."},
		{"alice", `{"Name":"t-1","S3BucketName":"logs",` + group + `,"CloudWatchLogsRoleArn":"arn:aws:iam::444455556666:role/R"}`, "InvalidCloudWatchLogsRoleArnException 400: CloudTrail cannot validate the specified role ARN."},
		{"alice", `{"Name":"t-1","S3BucketName":"logs","CloudWatchLogsLogGroupArn":"arn:aws:logs:eu-central-1:111122223333:log-group:other:*",` + role + `}`, badGroup},
		{"alice", `{"Name":"t-1","S3BucketName":"logs","CloudWatchLogsLogGroupArn":"audit",` + role + `}`, badGroup},
		{"bob", `{"Name":"t-1","S3BucketName":"logs",` + group + `,"CloudWatchLogsRoleArn":"arn:aws:iam::444455556666:role/R"}`, badGroup},
		{"alice", `{"Name":"t-1","S3BucketName":"logs","IsOrganizationTrail":true}`, "OrganizationsNotInUseException 400: Your account is not a member of an organization."},
		{"alice", `{"Name":"t-1","S3BucketName":"logs","TagsList":[{"Key":"AWS:x"}]}`, "InvalidTagParameterException 400: Tag keys that begin with aws: are reserved."},
		{"alice", `{"Name":"t-1","S3BucketName":"logs","TagsList":[{"Key":"a"},{"Key":"a"}]}`, "InvalidTagParameterException 400: Tag keys must be unique."},
		{"alice", `{"Name":"t-1","S3BucketName":"logs","TagsList":[` + strings.Join(many, ",") + `]}`, "TagsLimitExceededException 400: A trail has at most 50 tags."},
		{
			"carol", create, "AccessDeniedException 400: User: arn:aws:iam::111122223333:user/carol is not authorized to perform: cloudtrail:CreateTrail on resource: " +
				arnOf(ours, home, "t-1") + " because no identity-based policy allows the cloudtrail:CreateTrail action",
		},
	} {
		e.refused(test.who, "CreateTrail", test.request, test.want)
	}
	e.is(e.must("alice", "ListTrails", `{}`), `{"Trails":[]}`)
	e.must("carol", "CreateTrail", `{"Name":"c-1","S3BucketName":"logs"}`)
}

// TestTrailNames: names and numbers are an account's and Region's, but for
// multi-Region trails.
func TestTrailNames(t *testing.T) {
	e := newEnv(t)
	e.must("alice", "CreateTrail", create)
	e.must("bob", "CreateTrail", create)
	e.in(away).must("alice", "CreateTrail", create)
	e.refused("alice", "CreateTrail", create, "TrailAlreadyExistsException 400: Trail t-1 already exists for customer: 111122223333")
	for i := range 4 {
		e.must("alice", "CreateTrail", fmt.Sprintf(`{"Name":"more-%d","S3BucketName":"logs"}`, i))
	}
	e.refused("alice", "CreateTrail", `{"Name":"sixth","S3BucketName":"logs"}`, "MaximumNumberOfTrailsExceededException 400: User: 111122223333 already has 5 trails in eu-central-1.")
	e.in(away).refused("alice", "CreateTrail", `{"Name":"sixth","S3BucketName":"logs","IsMultiRegionTrail":true}`,
		"MaximumNumberOfTrailsExceededException 400: User: 111122223333 already has 5 trails in eu-central-1.")
}

// TestUpdateTrail: what is given changes, what is given empty goes, the rest
// stays.
func TestUpdateTrail(t *testing.T) {
	e := newEnv(t)
	e.must("alice", "CreateTrail", `{"Name":"t-1","S3BucketName":"logs","S3KeyPrefix":"a","EnableLogFileValidation":true,`+
		`"CloudWatchLogsLogGroupArn":"arn:aws:logs:eu-central-1:111122223333:log-group:audit","CloudWatchLogsRoleArn":"arn:aws:iam::111122223333:role/R"}`)
	was := e.must("alice", "UpdateTrail", `{"Name":"t-1"}`)
	for _, kept := range []string{`"S3KeyPrefix":"a"`, `"LogFileValidationEnabled":true`, `log-group:audit"`, `role/R"`} {
		if !strings.Contains(was, kept) {
			t.Errorf("%s does not keep %s", was, kept)
		}
	}
	e.is(e.must("alice", "UpdateTrail", `{"Name":"`+arnOf(ours, home, "t-1")+`","S3KeyPrefix":"","EnableLogFileValidation":false,"IsMultiRegionTrail":true,`+
		`"CloudWatchLogsLogGroupArn":"","CloudWatchLogsRoleArn":"","KmsKeyId":"","SnsTopicName":""}`),
		`{"Name":"t-1","S3BucketName":"logs","IncludeGlobalServiceEvents":true,"IsMultiRegionTrail":true,"TrailARN":"`+arnOf(ours, home, "t-1")+
			`","LogFileValidationEnabled":false,"IsOrganizationTrail":false}`)

	e.refused("alice", "UpdateTrail", `{"Name":"t-1","IncludeGlobalServiceEvents":false}`, "InvalidParameterCombinationException 400: Multi-Region trail must include global service events.")
	e.refused("alice", "UpdateTrail", `{"Name":"t-1","S3BucketName":"nowhere"}`, "S3BucketDoesNotExistException 400: S3 bucket nowhere does not exist!")
	e.refused("alice", "UpdateTrail", `{"Name":"t-1","KmsKeyId":"alias/a"}`, "UnsupportedOperationException 400: A trail's files are encrypted as their bucket is set up, and not with a KMS key of the trail's own.")
	e.refused("alice", "UpdateTrail", `{"Name":"t-2"}`, "TrailNotFoundException 400: Unknown trail: "+arnOf(ours, home, "t-2")+" for the user: 111122223333")
}

// TestShadows: a multi-Region trail is seen everywhere and changed at home; one
// of a single Region is not seen elsewhere.
func TestShadows(t *testing.T) {
	e := newEnv(t)
	e.must("alice", "CreateTrail", `{"Name":"multi","S3BucketName":"logs","IsMultiRegionTrail":true}`)
	e.must("alice", "CreateTrail", `{"Name":"single","S3BucketName":"logs"}`)
	there := e.in(away)
	multi, single := arnOf(ours, home, "multi"), arnOf(ours, home, "single")
	names := func(e *env, operation, request string) (names []string) {
		e.t.Helper()
		for part := range strings.SplitSeq(e.must("alice", operation, request), `"Name":"`) {
			if name, _, ok := strings.Cut(part, `","`); ok && !strings.HasPrefix(part, "{") {
				names = append(names, name)
			}
		}
		return names
	}
	for _, test := range []struct {
		env       *env
		operation string
		request   string
		want      string
	}{
		{e, "DescribeTrails", `{}`, "[multi single]"},
		{there, "DescribeTrails", `{}`, "[multi]"},
		{there, "DescribeTrails", `{"includeShadowTrails":true}`, "[multi]"},
		{there, "DescribeTrails", `{"includeShadowTrails":false}`, "[]"},
		{e, "DescribeTrails", `{"includeShadowTrails":false}`, "[multi single]"},
		{e, "DescribeTrails", `{"trailNameList":["single","nothing"]}`, "[single]"},
		{there, "DescribeTrails", `{"trailNameList":["multi"]}`, "[]"},
		{there, "DescribeTrails", `{"trailNameList":["` + multi + `","` + single + `"]}`, "[multi]"},
	} {
		if got := fmt.Sprint(names(test.env, test.operation, test.request)); got != test.want {
			t.Errorf("%s in %s of %s: %s, want %s", test.operation, test.env.region, test.request, got, test.want)
		}
	}
	e.is(there.must("alice", "ListTrails", `{}`), `{"Trails":[{"TrailARN":"`+multi+`","Name":"multi","HomeRegion":"eu-central-1"},{"TrailARN":"`+single+`","Name":"single","HomeRegion":"eu-central-1"}]}`)
	if got, want := there.must("alice", "GetTrail", `{"Name":"`+multi+`"}`), e.must("alice", "GetTrail", `{"Name":"multi"}`); got != want {
		t.Errorf("the shadow is %s, the trail %s", got, want)
	}
	for operation, request := range map[string]string{
		"GetTrail": `{"Name":"%s"}`, "GetTrailStatus": `{"Name":"%s"}`, "GetEventSelectors": `{"TrailName":"%s"}`,
	} {
		there.must("alice", operation, fmt.Sprintf(request, multi))
		unknown := "TrailNotFoundException 400: Unknown trail: %s for the user: 111122223333"
		there.refused("alice", operation, fmt.Sprintf(request, "multi"), fmt.Sprintf(unknown, arnOf(ours, away, "multi")))
		there.refused("alice", operation, fmt.Sprintf(request, single), fmt.Sprintf(unknown, single))
		there.refused("bob", operation, fmt.Sprintf(request, multi), "TrailNotFoundException 400: Unknown trail: "+multi+" for the user: 444455556666")
	}
	for operation, request := range map[string]string{
		"UpdateTrail": `{"Name":"%s"}`, "DeleteTrail": `{"Name":"%s"}`, "StartLogging": `{"Name":"%s"}`, "StopLogging": `{"Name":"%s"}`,
		"PutEventSelectors": `{"TrailName":"%s","EventSelectors":[{}]}`,
	} {
		elsewhere := "InvalidHomeRegionException 400: Trail %[1]s is changed in its home Region alone, which is eu-central-1."
		there.refused("alice", operation, fmt.Sprintf(request, "multi"), fmt.Sprintf(elsewhere, multi))
		there.refused("alice", operation, fmt.Sprintf(request, multi), fmt.Sprintf(elsewhere, multi))
		there.refused("alice", operation, fmt.Sprintf(request, single), fmt.Sprintf(elsewhere, single))
		there.refused("alice", operation, fmt.Sprintf(request, "single"), "TrailNotFoundException 400: Unknown trail: "+arnOf(ours, away, "single")+" for the user: 111122223333")
		there.refused("bob", operation, fmt.Sprintf(request, multi), "TrailNotFoundException 400: Unknown trail: "+multi+" for the user: 444455556666")
	}
}

// TestARNs: what is no ARN of a trail.
func TestARNs(t *testing.T) {
	e := newEnv(t)
	e.must("alice", "CreateTrail", create)
	for _, text := range []string{
		"arn:aws:s3:::logs", "arn:aws:cloudtrail:eu-central-1:111122223333:trail/", "arn:aws:cloudtrail:eu-central-1:111122223333:t-1", "arn:x",
		"arn:aws:cloudtrail:eu-central-1:1:trail/t-1", "arn:aws:cloudtrail::111122223333:trail/t-1", "arn:aws-cn:cloudtrail:eu-central-1:111122223333:trail/t-1",
		"arn:aws:cloudtrail:eu-central-1:111122223333:trail/a--b", "arn:aws:cloudtrail:eu-central-1:111122223333:channel/01234567890",
	} {
		e.refused("alice", "GetTrail", `{"Name":"`+text+`"}`,
			"CloudTrailARNInvalidException 400: The ARN is not one of a trail, such as arn:aws:cloudtrail:us-east-2:123456789012:trail/MyTrail.")
	}
}

// TestOrganizationTrail: members see the trail of their organization, by its
// ARN, and can't change it.
func TestOrganizationTrail(t *testing.T) {
	e := newEnv(t)
	e.organize()
	e.refused("bob", "CreateTrail", `{"Name":"all","S3BucketName":"logs","IsOrganizationTrail":true}`, "NotOrganizationMasterAccountException 400: The trail of an organization is changed by its management account alone.")
	e.must("alice", "CreateTrail", `{"Name":"all","S3BucketName":"logs","IsOrganizationTrail":true}`)
	e.must("alice", "CreateTrail", create)
	e.must("bob", "CreateTrail", create)
	arn := arnOf(ours, home, "all")
	seen := e.must("alice", "GetTrail", `{"Name":"all"}`)
	e.is(e.must("bob", "GetTrail", `{"Name":"`+arn+`"}`), seen)
	e.is(e.must("bob", "ListTrails", `{}`), `{"Trails":[{"TrailARN":"`+arn+`","Name":"all","HomeRegion":"eu-central-1"},{"TrailARN":"`+arnOf(theirs, home, "t-1")+`","Name":"t-1","HomeRegion":"eu-central-1"}]}`)
	if got := e.must("bob", "DescribeTrails", `{"includeShadowTrails":false}`); strings.Contains(got, arn) {
		t.Errorf("without shadows: %s", got)
	}
	if got := e.must("bob", "DescribeTrails", `{}`); !strings.Contains(got, arn) || strings.Contains(got, arnOf(ours, home, "t-1")) {
		t.Errorf("with shadows: %s", got)
	}
	if got := e.in(away).must("bob", "DescribeTrails", `{}`); got != `{"trailList":[]}` {
		t.Errorf("of a single Region, elsewhere: %s", got)
	}
	unknown := "TrailNotFoundException 400: Unknown trail: %s for the user: 444455556666"
	e.refused("bob", "GetTrail", `{"Name":"all"}`, fmt.Sprintf(unknown, arnOf(theirs, home, "all")))
	e.refused("bob", "GetTrail", `{"Name":"`+arnOf(ours, home, "t-1")+`"}`, fmt.Sprintf(unknown, arnOf(ours, home, "t-1")))
	for operation, request := range map[string]string{
		"UpdateTrail": `{"Name":"%s"}`, "DeleteTrail": `{"Name":"%s"}`, "StopLogging": `{"Name":"%s"}`, "PutEventSelectors": `{"TrailName":"%s","EventSelectors":[{}]}`,
		"AddTags": `{"ResourceId":"%s","TagsList":[{"Key":"k","Value":"v"}]}`,
	} {
		e.refused("bob", operation, fmt.Sprintf(request, arn), "NotOrganizationMasterAccountException 400: The trail of an organization is changed by its management account alone.")
	}
	e.must("alice", "UpdateTrail", `{"Name":"all","IsOrganizationTrail":false}`)
	e.refused("bob", "GetTrail", `{"Name":"`+arn+`"}`, fmt.Sprintf(unknown, arn))
}

// TestDeleteTrail: what is deleted is gone, and its name is free.
func TestDeleteTrail(t *testing.T) {
	e := newEnv(t)
	e.must("alice", "CreateTrail", create)
	e.is(e.must("alice", "DeleteTrail", `{"Name":"t-1"}`), `{}`)
	e.refused("alice", "DeleteTrail", `{"Name":"t-1"}`, "TrailNotFoundException 400: Unknown trail: "+arnOf(ours, home, "t-1")+" for the user: 111122223333")
	e.must("alice", "CreateTrail", create)
}

// TestLogging: a trail logs from StartLogging to StopLogging.
func TestLogging(t *testing.T) {
	e := newEnv(t)
	e.must("alice", "CreateTrail", create)
	const none = `"LatestDeliveryAttemptTime":"","LatestNotificationAttemptTime":"","LatestNotificationAttemptSucceeded":"","LatestDeliveryAttemptSucceeded":"",`
	e.is(e.must("alice", "GetTrailStatus", `{"Name":"t-1"}`), `{"IsLogging":false,`+none+`"TimeLoggingStarted":"","TimeLoggingStopped":""}`)
	e.is(e.must("alice", "StartLogging", `{"Name":"t-1"}`), `{}`)
	e.is(e.must("alice", "GetTrailStatus", `{"Name":"t-1"}`), `{"IsLogging":true,"StartLoggingTime":1795339800.123,`+none+`"TimeLoggingStarted":"2026-11-22T09:30:00Z","TimeLoggingStopped":""}`)
	e.now = e.now.Add(time.Hour)
	e.must("alice", "StartLogging", `{"Name":"t-1"}`)
	e.must("alice", "StopLogging", `{"Name":"`+arnOf(ours, home, "t-1")+`"}`)
	e.is(e.must("alice", "GetTrailStatus", `{"Name":"t-1"}`), `{"IsLogging":false,"StartLoggingTime":1795339800.123,"StopLoggingTime":1795343400.123,`+none+
		`"TimeLoggingStarted":"2026-11-22T09:30:00Z","TimeLoggingStopped":"2026-11-22T10:30:00Z"}`)
}

// TestEventSelectors: what is put is got, with what was left out filled in.
func TestEventSelectors(t *testing.T) {
	e := newEnv(t)
	e.must("alice", "CreateTrail", create)
	arn := arnOf(ours, home, "t-1")
	e.is(e.must("alice", "GetEventSelectors", `{"TrailName":"t-1"}`), `{"TrailARN":"`+arn+
		`","EventSelectors":[{"ReadWriteType":"All","IncludeManagementEvents":true,"DataResources":[],"ExcludeManagementEventSources":[]}]}`)
	want := `{"TrailARN":"` + arn + `","EventSelectors":[{"ReadWriteType":"WriteOnly","IncludeManagementEvents":true,"DataResources":[],"ExcludeManagementEventSources":["kms.amazonaws.com"]},` +
		`{"ReadWriteType":"All","IncludeManagementEvents":true,"DataResources":[],"ExcludeManagementEventSources":[]}]}`
	e.is(e.must("alice", "PutEventSelectors", `{"TrailName":"t-1","EventSelectors":[{"ReadWriteType":"WriteOnly","ExcludeManagementEventSources":["kms.amazonaws.com"]},{"DataResources":[]}]}`), want)
	e.is(e.must("alice", "GetEventSelectors", `{"TrailName":"`+arn+`"}`), want)
	if got := e.must("alice", "GetTrail", `{"Name":"t-1"}`); !strings.Contains(got, `"HasCustomEventSelectors":true`) {
		t.Errorf("GetTrail: %s", got)
	}
	for request, want := range map[string]string{
		`{"TrailName":"t-1"}`:                                      "Specify a valid number of selectors (1 to 5) for your trail.",
		`{"TrailName":"t-1","EventSelectors":[]}`:                  "Specify a valid number of selectors (1 to 5) for your trail.",
		`{"TrailName":"t-1","EventSelectors":[{},{},{},{},{},{}]}`: "Specify a valid number of selectors (1 to 5) for your trail.",
		`{"TrailName":"t-1","EventSelectors":[{}],"AdvancedEventSelectors":[{"FieldSelectors":[{"Field":"eventCategory"}]}]}`:   "Specify either event selectors or advanced event selectors, not both.",
		`{"TrailName":"t-1","AdvancedEventSelectors":[{"FieldSelectors":[{"Field":"eventCategory","Equals":["Management"]}]}]}`: "Advanced event selectors are not supported. Use event selectors.",
		`{"TrailName":"t-1","EventSelectors":[{"DataResources":[{"Type":"AWS::S3::Object","Values":["arn:aws:s3"]}]}]}`:         "There are no data events, and so no DataResources to select.",
		`{"TrailName":"t-1","EventSelectors":[{"IncludeManagementEvents":false}]}`:                                              "An event selector must include management events, or specify DataResources.",
		`{"TrailName":"t-1","EventSelectors":[{"ExcludeManagementEventSources":["iam.amazonaws.com"]}]}`:                        "Value iam.amazonaws.com for ExcludeManagementEventSources is invalid.",
	} {
		e.refused("alice", "PutEventSelectors", request, "InvalidEventSelectorsException 400: "+want)
	}
	e.is(e.must("alice", "GetEventSelectors", `{"TrailName":"t-1"}`), want)
}

// TestTags: added, replaced, removed, and asked for by policies.
func TestTags(t *testing.T) {
	e := newEnv(t)
	arn := arnOf(ours, home, "t-1")
	e.must("alice", "CreateTrail", `{"Name":"t-1","S3BucketName":"logs","TagsList":[{"Key":"team","Value":"red"}]}`)
	e.must("alice", "AddTags", `{"ResourceId":"`+arn+`","TagsList":[{"Key":"team","Value":"blue"},{"Key":"k","Value":"v"}]}`)
	e.is(e.must("alice", "ListTags", `{"ResourceIdList":["`+arn+`"]}`), `{"ResourceTagList":[{"ResourceId":"`+arn+`","TagsList":[{"Key":"team","Value":"blue"},{"Key":"k","Value":"v"}]}]}`)
	e.is(e.must("alice", "RemoveTags", `{"ResourceId":"`+arn+`","TagsList":[{"Key":"k"},{"Key":"other"}]}`), `{}`)
	e.is(e.must("alice", "ListTags", `{"ResourceIdList":["`+arn+`"]}`), `{"ResourceTagList":[{"ResourceId":"`+arn+`","TagsList":[{"Key":"team","Value":"blue"}]}]}`)

	e.user("blue", `{"Effect":"Allow","Action":"cloudtrail:*","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/team":"blue"}}}`)
	e.user("green", `{"Effect":"Allow","Action":"cloudtrail:AddTags","Resource":"*","Condition":{"ForAllValues:StringEquals":{"aws:TagKeys":["k"]},"StringEquals":{"aws:RequestTag/k":"green"}}}`)
	e.must("blue", "StartLogging", `{"Name":"t-1"}`)
	e.must("green", "AddTags", `{"ResourceId":"`+arn+`","TagsList":[{"Key":"k","Value":"green"}]}`)
	e.must("alice", "AddTags", `{"ResourceId":"`+arn+`","TagsList":[{"Key":"team","Value":"red"}]}`)
	denied := "AccessDeniedException 400: User: arn:aws:iam::111122223333:user/%s is not authorized to perform: cloudtrail:%s on resource: " + arn +
		" because no identity-based policy allows the cloudtrail:%[2]s action"
	e.refused("blue", "StartLogging", `{"Name":"t-1"}`, fmt.Sprintf(denied, "blue", "StartLogging"))
	e.refused("green", "AddTags", `{"ResourceId":"`+arn+`","TagsList":[{"Key":"team","Value":"green"}]}`, fmt.Sprintf(denied, "green", "AddTags"))

	var many []string
	for i := range 49 {
		many = append(many, fmt.Sprintf(`{"Key":"k%d","Value":"v"}`, i))
	}
	e.refused("alice", "AddTags", `{"ResourceId":"`+arn+`","TagsList":[`+strings.Join(many, ",")+`]}`, "TagsLimitExceededException 400: A trail has at most 50 tags.")
	for text, want := range map[string]string{
		"t-1":                      "CloudTrailARNInvalidException 400: The ARN is not one of a trail, such as arn:aws:cloudtrail:us-east-2:123456789012:trail/MyTrail.",
		arnOf(ours, away, "t-1"):   "CloudTrailARNInvalidException 400: Region in ARN is wrong, you can only access resources in region eu-central-1.",
		arnOf(ours, home, "t-2"):   "ResourceNotFoundException 400: Unknown trail: " + arnOf(ours, home, "t-2") + " for the user: 111122223333",
		arnOf(theirs, home, "t-1"): "ResourceNotFoundException 400: Unknown trail: " + arnOf(theirs, home, "t-1") + " for the user: 111122223333",
		"arn:aws:cloudtrail:eu-central-1:111122223333:channel/01234567890": "ResourceTypeNotSupportedException 400: Trails alone have tags.",
	} {
		e.refused("alice", "ListTags", `{"ResourceIdList":["`+text+`"]}`, want)
		e.refused("alice", "AddTags", `{"ResourceId":"`+text+`","TagsList":[{"Key":"k","Value":"v"}]}`, want)
		e.refused("alice", "RemoveTags", `{"ResourceId":"`+text+`","TagsList":[{"Key":"k"}]}`, want)
	}
	e.refused("alice", "ListTags", `{"ResourceIdList":[`+strings.TrimSuffix(strings.Repeat(`"`+arn+`",`, 21), ",")+`]}`, "InvalidParameterException 400: Specify at most 20 ARNs.")
}
