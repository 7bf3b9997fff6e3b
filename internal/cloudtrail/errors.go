package cloudtrail

import (
	"errors"
	"strconv"
	"strings"

	api "github.com/keyreeve/keyreeve/internal/api/cloudtrailapi"
	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/trail"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// The texts are those of recorded answers of AWS where there are any.

func errUnknownTrail(r trail.Ref, account string) *wire.Error {
	return api.TrailNotFoundException("Unknown trail: " + r.ARN() + " for the user: " + account)
}

func errNotHome(r trail.Ref) *wire.Error {
	return api.InvalidHomeRegionException("Trail " + r.ARN() + " is changed in its home Region alone, which is " + r.Region + ".")
}

func errOtherRegion(region string) *wire.Error {
	return api.CloudTrailARNInvalidException("Region in ARN is wrong, you can only access resources in region " + region + ".")
}

func errARN() *wire.Error {
	return api.CloudTrailARNInvalidException("The ARN is not one of a trail, such as arn:aws:cloudtrail:us-east-2:123456789012:trail/MyTrail.")
}

func errNotMaster() *wire.Error {
	return api.NotOrganizationMasterAccountException("The trail of an organization is changed by its management account alone.")
}

func errNoOrganization() *wire.Error {
	return api.OrganizationsNotInUseException("Your account is not a member of an organization.")
}

func errNoBucket(name string) *wire.Error {
	return api.S3BucketDoesNotExistException("S3 bucket " + name + " does not exist!")
}

func errBucketClosed(name string) *wire.Error {
	return api.InsufficientS3BucketPolicyException("Incorrect S3 bucket policy is detected for bucket: " + name)
}

func errNoLogGroup() *wire.Error {
	return api.InvalidCloudWatchLogsLogGroupArnException("CloudTrail cannot validate the specified log group ARN.")
}

func errGlobal() *wire.Error {
	return api.InvalidParameterCombinationException("Multi-Region trail must include global service events.")
}

func errTags() *wire.Error {
	return api.TagsLimitExceededException("A trail has at most " + strconv.Itoa(trail.MaxTags) + " tags.")
}

func errSelectors(text string) *wire.Error { return api.InvalidEventSelectorsException(text) }

// refusal says what a change of a trail was refused for.
type refusal struct {
	trail   trail.Trail // as it was to be
	account string      // of the caller
}

// answer puts an error of the packages below into the API's terms.
func (r *refusal) answer(err error) error {
	var (
		ready  *wire.Error
		denied *authz.Denied
	)
	t := &r.trail
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ready):
		return ready
	case errors.As(err, &denied):
		return wire.AccessDenied(denied.Text)
	case errors.Is(err, seal.ErrSealed):
		return wire.Sealed().WithCause(err)
	case errors.Is(err, trail.ErrNotFound):
		return errUnknownTrail(t.Ref, r.account)
	case errors.Is(err, trail.ErrExists):
		return api.TrailAlreadyExistsException("Trail " + t.Name + " already exists for customer: " + t.Account)
	case errors.Is(err, trail.ErrTooMany):
		return api.MaximumNumberOfTrailsExceededException(
			"User: " + t.Account + " already has " + strconv.Itoa(trail.MaxPerRegion) + " trails in " + crowded(err, t.Region) + ".")
	case errors.Is(err, trail.ErrNoBucket):
		return errNoBucket(t.Bucket)
	case errors.Is(err, trail.ErrBucketClosed):
		return errBucketClosed(t.Bucket)
	case errors.Is(err, trail.ErrNoLogGroup):
		return errNoLogGroup()
	case errors.Is(err, record.ErrConflict):
		return api.ConflictException("The trail was changed by others at the same time. Try again.").WithCause(err)
	}
	return err
}

// crowded returns the Region that has too many trails, which the error names.
func crowded(err error, home string) string {
	if _, region, ok := strings.Cut(err.Error(), trail.ErrTooMany.Error()+": "); ok && region != "" {
		return region
	}
	return home
}

// answer is refusal.answer for what is about no one trail.
func answer(err error) error { return (&refusal{}).answer(err) }

// checkRole returns an error if a role is not one of the account.
func checkRole(text, account string) error {
	a, err := arn.Parse(text)
	if err != nil || a.Service != "iam" || a.Account != account || !strings.HasPrefix(a.Resource, "role/") {
		return api.InvalidCloudWatchLogsRoleArnException("CloudTrail cannot validate the specified role ARN.")
	}
	return nil
}
