package sts_test

import "testing"

// TestRegionDisabled: there are no sessions in a Region that the role's account
// has not enabled, and who may not have one is not told so.
func TestRegionDisabled(t *testing.T) {
	d := newDirectory(t, allow("arn:aws:iam::"+theirs+":root", ""))
	d.role.Closed = []string{"ap-east-1", "eu-central-1"}
	bob := user(t, theirs, "bob", identityAllow("sts:*", "*"))
	const want = "RegionDisabledException: STS is not activated in this region for account:" + ours +
		". Your account administrator can activate STS in this region using the IAM Console."
	if _, c, err := assume(t, d, bob); text(err) != want || len(d.asked) != 0 || c.DecisionText == "" {
		t.Errorf("%s, %d sessions, want %s", text(err), len(d.asked), want)
	}
	if _, _, err := assume(t, d, user(t, theirs, "eve", "")); text(err) == want || err == nil {
		t.Errorf("who may not: %v", err)
	}
	d.role.Closed = []string{"ap-east-1"}
	if _, _, err := assume(t, d, bob); err != nil {
		t.Error(err)
	}
}
