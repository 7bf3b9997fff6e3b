package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/config"
)

func TestTrails(t *testing.T) {
	const (
		bucket = "audit:\n  buckets:\n  - {name: our-trail, endpoint: 'https://s3.example.com:9000', credentials_file: /c, accounts: ['111122223333', '*']"
		group  = "audit:\n  log_groups:\n  - {name: /aws/trail, address: 'tls://syslog.example.com:6514'"
	)
	tests := []struct {
		name, text string
		want       string // in the error; empty for none
	}{
		{"bucket", bucket + "}", ""},
		{"another Region", bucket + ", region: garage}", ""},
		{"locked", bucket + ", lock_mode: compliance, lock_days: 365}", ""},
		{"no days", bucket + ", lock_mode: compliance}", "lock_days: must be"},
		{"no mode", bucket + ", lock_days: 3}", "only with lock_mode"},
		{"another mode", bucket + ", lock_mode: forever, lock_days: 3}", "neither governance nor compliance"},
		{"bad style", bucket + ", style: dns}", "neither path nor host"},
		{"twice", bucket + "}\n  - {name: our-trail, endpoint: 'https://other.example.com', credentials_file: /c}", "there twice"},
		{"no credentials", "audit: {buckets: [{name: our-trail, endpoint: 'https://s3.example.com'}]}", "needs one"},
		{"no endpoint", "audit: {buckets: [{name: our-trail, credentials_file: /c}]}", "needs a URL"},
		{"not http", "audit: {buckets: [{name: our-trail, endpoint: 'ftp://s3.example.com', credentials_file: /c}]}", "needs a URL"},
		{"with a password", "audit: {buckets: [{name: our-trail, endpoint: 'https://a:b@s3.example.com', credentials_file: /c}]}", "needs a URL"},
		{"not a bucket", "audit: {buckets: [{name: Our_Trail, endpoint: 'https://s3.example.com', credentials_file: /c}]}", "not the name of a bucket"},
		{"bad account", "audit: {buckets: [{name: our-trail, endpoint: 'https://s3.example.com', credentials_file: /c, accounts: [ours]}]}", "neither 12 digits"},
		{"group", group + "}", ""},
		{"udp", "audit: {log_groups: [{name: g, address: 'udp://10.0.0.1:514'}]}", ""},
		{"client certificate", group + ", certificate: /c, key: /k}", ""},
		{"half a certificate", group + ", certificate: /c}", "given together"},
		{"no port", "audit: {log_groups: [{name: g, address: 'tcp://syslog.example.com'}]}", "needs tls"},
		{"port 0", "audit: {log_groups: [{name: g, address: 'tcp://syslog.example.com:0'}]}", "needs tls"},
		{"http", "audit: {log_groups: [{name: g, address: 'https://syslog.example.com:1'}]}", "needs tls"},
		{"bad name", "audit: {log_groups: [{name: 'a:b', address: 'tcp://syslog.example.com:1'}]}", "not the name of a log group"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := config.Parse([]byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			c.SetDefaults()
			switch err := c.Check(); {
			case tt.want == "" && err != nil:
				t.Errorf("Check() = %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("Check() = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestAudit(t *testing.T) {
	for _, tt := range []struct {
		text string
		days int
		want string // in the error; empty for none
	}{
		{"", 90, ""},
		{"audit: {retention_days: 0, delivery: 1s}", 0, ""},
		{"audit: {retention_days: 3650, delivery: 1h}", 3650, ""},
		{"audit: {retention_days: -1}", 0, "audit.retention_days"},
		{"audit: {retention_days: 40000}", 0, "audit.retention_days"},
		{"audit: {delivery: 1ms}", 0, "audit.delivery"},
		{"audit: {delivery: 2h}", 0, "audit.delivery"},
	} {
		c, err := config.Parse([]byte(tt.text))
		if err == nil {
			c.SetDefaults()
			err = c.Check()
		}
		switch {
		case tt.want != "":
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Parse(%s): %v, want %s", tt.text, err, tt.want)
			}
		case err != nil:
			t.Errorf("Parse(%s): %v", tt.text, err)
		default:
			if got, want := c.Audit.Retention(), time.Duration(tt.days)*24*time.Hour; got != want {
				t.Errorf("Parse(%s): records are kept for %v, want %v", tt.text, got, want)
			}
		}
	}
}
