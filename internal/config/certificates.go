package config

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/arn"
)

// Limits of [Certificates]; those of IAM Roles Anywhere, but that of managed
// policies, which is what a session can have.
const (
	maxAnchors         = 50
	maxProfiles        = 250
	maxProfileRoles    = 250
	maxManagedPolicies = 10
	minProfileDuration = 15 * time.Minute
	maxProfileDuration = 12 * time.Hour
)

var anywhereName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)

// check says what is wrong with the settings.
func (c *Certificates) check(regions []string, wrong func(format string, args ...any)) {
	if len(c.TrustAnchors) > maxAnchors {
		wrong("certificates.trust_anchors: more than %d", maxAnchors)
	}
	if len(c.Profiles) > maxProfiles {
		wrong("certificates.profiles: more than %d", maxProfiles)
	}
	if (len(c.TrustAnchors) == 0) != (len(c.Profiles) == 0) {
		wrong("certificates: trust_anchors and profiles are given together or not at all")
	}
	seen := map[string]bool{}
	// once checks an ARN, and returns the account.
	once := func(where, kind, text string) (account string) {
		a, err := arn.Parse(text)
		name, ok := strings.CutPrefix(a.Resource, kind+"/")
		if err != nil || a.Partition != "aws" || a.Service != "rolesanywhere" || !arn.IsAccount(a.Account) || !ok || !anywhereName.MatchString(name) {
			wrong("%s: %q is not arn:aws:rolesanywhere:REGION:ACCOUNT:%s/NAME", where, text, kind)
			return ""
		}
		if !slices.Contains(regions, a.Region) {
			wrong("%s: %q is in none of the regions", where, text)
		}
		if seen[text] {
			wrong("%s: %q is there twice", where, text)
		}
		seen[text] = true
		return a.Account
	}
	for _, t := range c.TrustAnchors {
		once("certificates.trust_anchors.arn", "trust-anchor", t.ARN)
		if t.CA == "" {
			wrong("certificates.trust_anchors.ca: %s needs a file", t.ARN)
		}
	}
	for _, p := range c.Profiles {
		account := once("certificates.profiles.arn", "profile", p.ARN)
		if len(p.Roles) == 0 || len(p.Roles) > maxProfileRoles {
			wrong("certificates.profiles.roles: %s needs 1 to %d roles", p.ARN, maxProfileRoles)
		}
		for _, role := range p.Roles {
			a, err := arn.Parse(role)
			if err != nil || a.Service != "iam" || !strings.HasPrefix(a.Resource, "role/") {
				wrong("certificates.profiles.roles: %q is not the ARN of a role", role)
			} else if account != "" && a.Account != account {
				wrong("certificates.profiles.roles: %s is not of the profile's account", role)
			}
		}
		if p.Duration < minProfileDuration || p.Duration > maxProfileDuration || p.Duration%time.Second != 0 {
			wrong("certificates.profiles.duration: must be 15m to 12h")
		}
		if len(p.ManagedPolicies) > maxManagedPolicies {
			wrong("certificates.profiles.managed_policies: more than %d", maxManagedPolicies)
		}
	}
}
