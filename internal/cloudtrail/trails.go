package cloudtrail

import (
	"context"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	api "github.com/keyreeve/keyreeve/internal/api/cloudtrailapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/trail"
)

// CreateTrail implements [api.Handler]. The trail does not log before
// StartLogging.
func (s *Service) CreateTrail(ctx context.Context, c *call.Call, in *api.CreateTrailInput, out *api.CreateTrailOutput) error {
	r := &refusal{account: c.Caller.Account}
	return r.answer(s.createTrail(ctx, c, in, out, r))
}

func (s *Service) createTrail(ctx context.Context, c *call.Call, in *api.CreateTrailInput, out *api.CreateTrailOutput, r *refusal) error {
	if err := checkName(in.Name); err != nil {
		return err
	}
	tags, q, err := checkTags(in.TagsList)
	if err != nil {
		return err
	}
	t := trail.Trail{
		Ref:    trail.Ref{Account: c.Caller.Account, Region: c.Region, Name: in.Name},
		Bucket: in.S3BucketName, Prefix: in.S3KeyPrefix,
		GlobalServices: in.IncludeGlobalServiceEvents == nil || *in.IncludeGlobalServiceEvents,
		MultiRegion:    given(in.IsMultiRegionTrail), Organization: given(in.IsOrganizationTrail), Validation: given(in.EnableLogFileValidation),
		LogGroup: in.CloudWatchLogsLogGroupARN, LogRole: in.CloudWatchLogsRoleARN, Tags: tags,
	}
	r.trail = t
	arn := t.ARN()
	if err := s.decide(ctx, c, arn, nil, q); err != nil {
		return err
	}
	if err := checkTrail(c, &t); err != nil {
		return err
	}
	if err := refuseMissing(in.SnsTopicName, in.KmsKeyID); err != nil {
		return err
	}
	if t, err = s.trails.Create(ctx, t); err != nil {
		return err
	}
	c.AddResource(call.Resource{ARN: arn, Account: t.Account, Type: resourceType})
	*out = api.CreateTrailOutput{
		Name: t.Name, S3BucketName: t.Bucket, S3KeyPrefix: t.Prefix, IncludeGlobalServiceEvents: t.GlobalServices,
		IsMultiRegionTrail: t.MultiRegion, TrailARN: arn, LogFileValidationEnabled: t.Validation,
		CloudWatchLogsLogGroupARN: t.LogGroup, CloudWatchLogsRoleARN: t.LogRole, IsOrganizationTrail: t.Organization,
	}
	return nil
}

func given(b *bool) bool { return b != nil && *b }

// refuseMissing refuses what a trail of AWS can do besides.
func refuseMissing(topic, key string) error {
	switch {
	case topic != "":
		return api.InsufficientSnsTopicPolicyException("SNS Topic does not exist or the topic policy is incorrect!")
	case key != "":
		return api.UnsupportedOperationException("A trail's files are encrypted as their bucket is set up, and not with a KMS key of the trail's own.")
	}
	return nil
}

// checkTrail checks what a trail of the caller's account says by itself.
func checkTrail(c *call.Call, t *trail.Trail) error {
	if err := checkBucketName(t.Bucket); err != nil {
		return err
	}
	if err := checkPrefix(t.Prefix); err != nil {
		return err
	}
	switch {
	case t.MultiRegion && !t.GlobalServices:
		return errGlobal()
	case t.LogGroup != "" && t.LogRole == "":
		return api.InvalidCloudWatchLogsRoleArnException("You must specify a role ARN as well as a log group.")
	case t.LogGroup == "" && t.LogRole != "":
		return api.InvalidCloudWatchLogsLogGroupArnException("You must specify a log group as well as a role ARN.")
	}
	if t.LogRole != "" {
		if err := checkRole(t.LogRole, t.Account); err != nil {
			return err
		}
	}
	if !t.Organization {
		return nil
	}
	switch o := c.Caller.Organization; {
	case o == nil:
		return errNoOrganization()
	case o.Master != t.Account:
		return errNotMaster()
	}
	return nil
}

// bucketSyntax is that of S3's names. Source: "Bucket naming rules" in the
// Amazon S3 User Guide.
var bucketSyntax = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

func checkBucketName(name string) error {
	text := ""
	switch n := len(name); {
	case n < 3 || n > 63:
		text = "Bucket name must be between 3 and 63 characters long: it has " + strconv.Itoa(n) + "."
	case !bucketSyntax.MatchString(name):
		text = "Bucket name can only contain lowercase letters, numbers, periods (.) and hyphens (-), and begins and ends with a letter or number."
	case strings.Contains(name, ".."):
		text = "Bucket name must not have adjacent periods."
	default:
		if _, err := netip.ParseAddr(name); err == nil {
			text = "Bucket name must not be in the format of an IP address."
		}
	}
	if text != "" {
		return api.InvalidS3BucketNameException(text)
	}
	return nil
}

func checkPrefix(prefix string) error {
	switch {
	case utf8.RuneCountInString(prefix) > trail.MaxPrefix:
		return api.InvalidS3PrefixException("S3 prefix is longer than the maximum length of " + strconv.Itoa(trail.MaxPrefix) + " characters.")
	case strings.HasPrefix(prefix, "/"), strings.HasSuffix(prefix, "/"),
		strings.ContainsFunc(prefix, func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError }):
		return api.InvalidS3PrefixException("S3 prefix must not begin or end with a slash, and has no control characters.")
	}
	return nil
}

// UpdateTrail implements [api.Handler]. What the request leaves out stays; an
// empty string takes away what can be absent.
func (s *Service) UpdateTrail(ctx context.Context, c *call.Call, in *api.UpdateTrailInput, out *api.UpdateTrailOutput) error {
	r := &refusal{account: c.Caller.Account}
	return r.answer(s.updateTrail(ctx, c, in, out, r))
}

func (s *Service) updateTrail(ctx context.Context, c *call.Call, in *api.UpdateTrailInput, out *api.UpdateTrailOutput, r *refusal) error {
	was, err := s.home(ctx, c, in.Name)
	if err != nil {
		return err
	}
	r.trail = *was
	if err := refuseMissing(in.SnsTopicName, in.KmsKeyID); err != nil {
		return err
	}
	t, err := s.trails.Update(ctx, was.Ref, func(t *trail.Trail) error {
		if in.S3BucketName != "" {
			t.Bucket = in.S3BucketName
		}
		if in.GivenS3KeyPrefix() {
			t.Prefix = in.S3KeyPrefix
		}
		if in.GivenCloudWatchLogsLogGroupARN() {
			t.LogGroup = in.CloudWatchLogsLogGroupARN
		}
		if in.GivenCloudWatchLogsRoleARN() {
			t.LogRole = in.CloudWatchLogsRoleARN
		}
		for to, from := range map[*bool]*bool{
			&t.GlobalServices: in.IncludeGlobalServiceEvents, &t.MultiRegion: in.IsMultiRegionTrail,
			&t.Organization: in.IsOrganizationTrail, &t.Validation: in.EnableLogFileValidation,
		} {
			if from != nil {
				*to = *from
			}
		}
		r.trail = *t
		return checkTrail(c, t)
	})
	if err != nil {
		return err
	}
	*out = api.UpdateTrailOutput{
		Name: t.Name, S3BucketName: t.Bucket, S3KeyPrefix: t.Prefix, IncludeGlobalServiceEvents: t.GlobalServices,
		IsMultiRegionTrail: t.MultiRegion, TrailARN: t.ARN(), LogFileValidationEnabled: t.Validation,
		CloudWatchLogsLogGroupARN: t.LogGroup, CloudWatchLogsRoleARN: t.LogRole, IsOrganizationTrail: t.Organization,
	}
	return nil
}

// DeleteTrail implements [api.Handler].
func (s *Service) DeleteTrail(ctx context.Context, c *call.Call, in *api.DeleteTrailInput, _ *api.DeleteTrailOutput) error {
	return s.atHome(ctx, c, in.Name, s.trails.Delete)
}

// atHome does something with a trail at home.
func (s *Service) atHome(ctx context.Context, c *call.Call, name string, do func(context.Context, trail.Ref) error) error {
	t, err := s.home(ctx, c, name)
	if err != nil {
		return answer(err)
	}
	r := &refusal{trail: *t, account: c.Caller.Account}
	return r.answer(do(ctx, t.Ref))
}

// GetTrail implements [api.Handler].
func (s *Service) GetTrail(ctx context.Context, c *call.Call, in *api.GetTrailInput, out *api.GetTrailOutput) error {
	t, err := s.read(ctx, c, in.Name)
	if err != nil {
		return answer(err)
	}
	described := describe(t)
	out.Trail = &described
	return nil
}

func describe(t *trail.Trail) api.Trail {
	return api.Trail{
		Name: t.Name, S3BucketName: t.Bucket, S3KeyPrefix: t.Prefix, IncludeGlobalServiceEvents: t.GlobalServices,
		IsMultiRegionTrail: t.MultiRegion, HomeRegion: t.Region, TrailARN: t.ARN(), LogFileValidationEnabled: t.Validation,
		CloudWatchLogsLogGroupARN: t.LogGroup, CloudWatchLogsRoleARN: t.LogRole,
		HasCustomEventSelectors: len(t.Selectors) > 0, IsOrganizationTrail: t.Organization,
	}
}

// DescribeTrails implements [api.Handler]. What is named and not there is left
// out.
func (s *Service) DescribeTrails(ctx context.Context, c *call.Call, in *api.DescribeTrailsInput, out *api.DescribeTrailsOutput) error {
	return answer(s.describeTrails(ctx, c, in, out))
}

func (s *Service) describeTrails(ctx context.Context, c *call.Call, in *api.DescribeTrailsInput, out *api.DescribeTrailsOutput) error {
	named := make(map[trail.Ref]bool, len(in.TrailNameList))
	for _, name := range in.TrailNameList {
		r, err := parseName(c, name)
		if err != nil {
			return err
		}
		named[r] = true
	}
	if err := s.decide(ctx, c, "*", nil, conditions{}); err != nil {
		return err
	}
	all, err := s.seen(ctx, c)
	if err != nil {
		return err
	}
	shadows := in.IncludeShadowTrails == nil || *in.IncludeShadowTrails
	out.TrailList = []api.Trail{}
	for i := range all {
		t := &all[i]
		if !sees(c, t) || !shadows && !atHome(c, t.Ref) || len(named) > 0 && !named[t.Ref] {
			continue
		}
		out.TrailList = append(out.TrailList, describe(t))
	}
	return nil
}

// ListTrails implements [api.Handler]. All trails are on one page.
func (s *Service) ListTrails(ctx context.Context, c *call.Call, in *api.ListTrailsInput, out *api.ListTrailsOutput) error {
	if err := s.decide(ctx, c, "*", nil, conditions{}); err != nil {
		return answer(err)
	}
	if err := refuseToken(in.NextToken); err != nil {
		return err
	}
	all, err := s.seen(ctx, c)
	if err != nil {
		return answer(err)
	}
	slices.SortStableFunc(all, func(a, b trail.Trail) int { return strings.Compare(a.ARN(), b.ARN()) })
	out.Trails = []api.TrailInfo{}
	for i := range all {
		out.Trails = append(out.Trails, api.TrailInfo{TrailARN: all[i].ARN(), Name: all[i].Name, HomeRegion: all[i].Region})
	}
	return nil
}

// refuseToken refuses a token where everything is on one page and none is given
// out.
func refuseToken(token string) error {
	if token != "" {
		return api.InvalidTokenException("The NextToken is not valid.")
	}
	return nil
}
