//go:build rig

package rig_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A sink takes connections and never says or reads anything.
type sink struct {
	net.Listener
	mu    sync.Mutex
	taken []net.Conn
}

func hang(t testing.TB) *sink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &sink{Listener: l}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			k.mu.Lock()
			k.taken = append(k.taken, conn)
			k.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		accepting.Wait()
		for _, conn := range k.taken {
			_ = conn.Close()
		}
	})
	return k
}

// connected reports whether somebody has come.
func (k *sink) connected() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.taken) > 0
}

// TestHangingSink has trails copy to a bucket and to a syslog server that take
// connections and then do nothing. It holds up no call, no delivery to the
// archive and not the end of the server, and loses no record.
func TestHangingSink(t *testing.T) {
	in := install(t)
	bob := in.peopled(t)
	bucket, group := hang(t), hang(t)
	credentials := filepath.Join(in.dir, "credentials")
	if err := os.WriteFile(credentials, []byte("[default]\naws_access_key_id = AKIARIGSINK000000000\naws_secret_access_key = of-the-sink\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	in.configure(t, fmt.Sprintf(`audit:
  buckets:
    - {name: hanging, endpoint: "http://%s", credentials_file: %s, accounts: ["*"]}
  log_groups:
    - {name: hanging, address: "tcp://%s", accounts: ["*"]}
`, bucket.Addr(), credentials, group.Addr()))

	s := in.start(t)
	share(t, s, bob)
	for name, more := range map[string]object{
		"to-bucket": {}, "to-syslog": {
			"CloudWatchLogsLogGroupArn": "arn:aws:logs:us-east-1:" + rigAccount + ":log-group:hanging:*",
			"CloudWatchLogsRoleArn":     "arn:aws:iam::" + rigAccount + ":role/unused",
		},
	} {
		more["Name"], more["S3BucketName"], more["EnableLogFileValidation"], more["IsMultiRegionTrail"] = name, "hanging", true, true
		s.trail(t, "CreateTrail", more)
		s.trail(t, "StartLogging", object{"Name": name})
	}
	key := s.must(t, "CreateKey", object{}).obj("KeyMetadata").str("KeyId")
	use := func() {
		for range 200 {
			s.must(t, "Encrypt", object{"KeyId": key, "Plaintext": "cGxhaW50ZXh0"})
			s.must(t, "GenerateDataKey", object{"KeyId": foreignKey, "KeySpec": "AES_256"})
		}
	}
	calls := func() []answered {
		for i, c := range s.answered {
			s.answered[i].foreign = c.name == "GenerateDataKey"
		}
		return s.answered
	}
	use()
	s.stop(t) // which ends the segment
	all := calls()

	s = in.start(t)
	until(t, in, "the trails begin to copy", func() bool { return bucket.connected() && group.connected() })
	in.delivered(t)
	use()
	s.verified(t, in)
	const lag = `keyreeve_trail_lag_seconds{sink="s3"} `
	until(t, in, "the trails' lag is told", func() bool {
		metrics := s.metrics(t)
		return strings.Contains(metrics, lag) && !strings.Contains(metrics, lag+"0\n")
	})
	began := time.Now()
	s.stop(t)
	t.Logf("stopped in %v", time.Since(began).Round(time.Millisecond))
	all = append(all, calls()...)
	s = in.start(t)
	in.delivered(t)
	s.stop(t)
	for _, problem := range in.trail(t).missing(all) {
		t.Error(problem)
	}
}

// trail calls an operation of CloudTrail.
func (s *server) trail(t testing.TB, operation string, in object) object {
	t.Helper()
	out, _, err := s.callService(t.Context(), "cloudtrail", "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101."+operation, in)
	if err != nil {
		t.Fatalf("%s: %v", operation, err)
	}
	return out
}

// metrics returns the lines that are about trails.
func (s *server) metrics(t testing.TB) string {
	t.Helper()
	res := s.ask(t, "/metrics")
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "keyreeve_trail") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}
