package config

import (
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"

	"github.com/keyreeve/keyreeve/internal/arn"
)

// Limits of [Audit].
const (
	maxBuckets   = 100
	maxLogGroups = 100
	maxLockDays  = 36500
)

// bucketName is what S3 takes for a general purpose bucket; logGroupName what
// CloudWatch Logs takes. Sources: "General purpose bucket naming rules" in the
// Amazon S3 User Guide, CreateLogGroup in the Amazon CloudWatch Logs API
// Reference.
var (
	bucketName   = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	logGroupName = regexp.MustCompile(`^[.\-_/#A-Za-z0-9]{1,512}$`)
)

// bucketRegion is what servers other than AWS's have for a Region, too, such as
// "auto" or "garage".
var bucketRegion = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)

// check says what is wrong with the settings.
func (a *Audit) check(wrong func(format string, args ...any)) {
	if len(a.Buckets) > maxBuckets {
		wrong("audit.buckets: more than %d", maxBuckets)
	}
	if len(a.LogGroups) > maxLogGroups {
		wrong("audit.log_groups: more than %d", maxLogGroups)
	}
	accounts := func(where string, list []string) {
		for _, id := range list {
			if id != "*" && !arn.IsAccount(id) {
				wrong("%s.accounts: %q is neither 12 digits nor *", where, id)
			}
		}
	}
	seen := map[string]bool{}
	for _, b := range a.Buckets {
		if !bucketName.MatchString(b.Name) {
			wrong("audit.buckets.name: %q is not the name of a bucket", b.Name)
		}
		if seen[b.Name] {
			wrong("audit.buckets.name: %q is there twice", b.Name)
		}
		seen[b.Name] = true
		u, err := url.Parse(b.Endpoint)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			wrong("audit.buckets.endpoint: %s needs a URL such as https://s3.example.com", b.Name)
		}
		if !bucketRegion.MatchString(b.Region) {
			wrong("audit.buckets.region: %q is not the name of a Region", b.Region)
		}
		if b.CredentialsFile == "" {
			wrong("audit.buckets.credentials_file: %s needs one", b.Name)
		}
		if b.Style != "path" && b.Style != "host" {
			wrong("audit.buckets.style: %q is neither path nor host", b.Style)
		}
		switch {
		case b.LockMode != "" && b.LockMode != "governance" && b.LockMode != "compliance":
			wrong("audit.buckets.lock_mode: %q is neither governance nor compliance", b.LockMode)
		case b.LockMode == "" && b.LockDays != 0:
			wrong("audit.buckets.lock_days: only with lock_mode")
		case b.LockMode != "" && (b.LockDays < 1 || b.LockDays > maxLockDays):
			wrong("audit.buckets.lock_days: must be 1 to %d", maxLockDays)
		}
		accounts("audit.buckets", b.Accounts)
	}
	clear(seen)
	for _, g := range a.LogGroups {
		if !logGroupName.MatchString(g.Name) {
			wrong("audit.log_groups.name: %q is not the name of a log group", g.Name)
		}
		if seen[g.Name] {
			wrong("audit.log_groups.name: %q is there twice", g.Name)
		}
		seen[g.Name] = true
		if !isSyslog(g.Address) {
			wrong("audit.log_groups.address: %s needs tls://host:port, tcp://host:port or udp://host:port", g.Name)
		}
		if (g.Certificate == "") != (g.Key == "") {
			wrong("audit.log_groups: certificate and key of %s are given together or not at all", g.Name)
		}
		accounts("audit.log_groups", g.Accounts)
	}
}

func isSyslog(address string) bool {
	u, err := url.Parse(address)
	if err != nil || !slices.Contains([]string{"tls", "tcp", "udp"}, u.Scheme) || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return false
	}
	host, port, err := net.SplitHostPort(u.Host)
	if err != nil || host == "" {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}
