package trail_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/internal/trail"
)

func TestCopy(t *testing.T) {
	e := newEnv(t)
	e.some(2) // before the trail
	e.deliver()
	e.pass(time.Second)
	tr := e.trail("mine", func(t *trail.Trail) { t.Prefix = "logs/kms" })
	want := e.some(3)
	e.write(event{Account: theirs}, event{Region: other})
	e.deliver()
	e.run()
	e.gets("", want)
	for _, name := range e.logs(bucket) {
		if !strings.HasPrefix(name, "logs/kms/AWSLogs/"+ours+"/CloudTrail/"+region+"/2026/11/22/"+ours+"_CloudTrail_"+region+"_20261122T") ||
			!strings.HasSuffix(name, ".json.gz") {
			t.Errorf("an object is called %s", name)
		}
	}
	want = append(want, e.some(2)...) // while it runs
	e.deliver()
	e.gets("", want)
	s := e.settled(tr)
	if !s.Logging || !s.Started.Equal(e.clock()) || !s.Stopped.IsZero() {
		t.Errorf("status: logging %v, started %v, stopped %v", s.Logging, s.Started, s.Stopped)
	}
	if b := s.Bucket; b.Failure != "" || !b.Delivered.Equal(e.clock()) || !b.Attempted.Equal(e.clock()) || b.Lost != 0 {
		t.Errorf("status of the bucket: %+v", b)
	}
	k := e.set.Sinks()[0]
	if k.Kind != "s3" || k.Delivered != 5 || k.Objects != 2 || k.Failures != 0 || k.Lost != 0 || k.Trails != 1 || k.Failing != 0 || k.Lag != 0 {
		t.Errorf("measured: %+v", k)
	}
}

func TestWhatIsCopied(t *testing.T) {
	decrypt := event{Name: "Decrypt", ReadOnly: true}
	create := event{Name: "CreateKey"}
	user := event{Name: "CreateUser", Source: "iam.amazonaws.com", Region: "us-east-1"}
	role := event{Name: "AssumeRole", Source: "sts.amazonaws.com"}
	away := event{Name: "Decrypt", ReadOnly: true, Region: other}
	all := []event{decrypt, create, user, role, away}
	tests := []struct {
		name   string
		change func(*trail.Trail)
		want   []int // of all
	}{
		{"one Region", func(*trail.Trail) {}, []int{0, 1, 3}},
		{"every Region", func(t *trail.Trail) { t.MultiRegion = true }, []int{0, 1, 2, 3, 4}},
		{"at home of global services", func(t *trail.Trail) { t.Region = "us-east-1" }, []int{2}},
		{"without them", func(t *trail.Trail) { t.Region, t.GlobalServices = "us-east-1", false }, nil},
		{"reads", func(t *trail.Trail) {
			t.Selectors = []trail.Selector{{ReadWrite: trail.ReadOnly, Management: true}}
		}, []int{0}},
		{"writes", func(t *trail.Trail) {
			t.Selectors = []trail.Selector{{ReadWrite: trail.WriteOnly, Management: true}}
		}, []int{1, 3}},
		{"not KMS", func(t *trail.Trail) {
			t.Selectors = []trail.Selector{{ReadWrite: trail.AllEvents, Management: true, Excluded: []string{"kms.amazonaws.com"}}}
		}, []int{3}},
		{"either of two", func(t *trail.Trail) {
			t.Selectors = []trail.Selector{
				{ReadWrite: trail.ReadOnly, Management: true},
				{ReadWrite: trail.AllEvents, Management: true, Excluded: []string{"kms.amazonaws.com"}},
			}
		}, []int{0, 3}},
		{"no management events", func(t *trail.Trail) { t.Selectors = []trail.Selector{{ReadWrite: trail.AllEvents}} }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := newEnv(t)
			tr := e.trail("mine", tt.change)
			ids := e.write(all...)
			e.deliver()
			e.run()
			e.settled(tr)
			var want []string
			for _, i := range tt.want {
				want = append(want, ids[i])
			}
			if got := e.in(bucket, ""); !slices.Equal(got, want) {
				t.Errorf("copied %v, want %v", got, want)
			}
		})
	}
}

func TestPeriods(t *testing.T) {
	e := newEnv(t)
	ctx := t.Context()
	tr := e.trail("mine")
	e.ok(e.set.Stop(ctx, tr.Ref))
	e.pass(time.Minute)
	e.some(1) // stopped
	e.pass(time.Minute)
	e.ok(e.set.Start(ctx, tr.Ref))
	want := e.some(2)
	e.pass(time.Minute)
	e.ok(e.set.Stop(ctx, tr.Ref))
	e.pass(time.Minute)
	e.some(1)
	e.deliver() // all of it in one file, and only now
	e.run()
	s := e.settled(tr)
	if got := e.in(bucket, ""); !slices.Equal(got, want) {
		t.Errorf("copied %v, want %v", got, want)
	}
	if s.Logging || !s.Stopped.Equal(start.Add(3*time.Minute)) || !s.Started.Equal(start.Add(2*time.Minute)) {
		t.Errorf("status: logging %v, started %v, stopped %v", s.Logging, s.Started, s.Stopped)
	}
	e.pass(time.Minute)
	e.some(1)
	e.deliver()
	e.settled(tr)
	e.ok(e.set.Start(ctx, tr.Ref))
	e.pass(time.Minute)
	want = append(want, e.some(1)...)
	e.deliver()
	e.settled(tr)
	if got := e.in(bucket, ""); !slices.Equal(got, want) {
		t.Errorf("copied %v, want %v", got, want)
	}
}

// TestManyPeriods: who starts and stops very often gets more than asked for, and
// never less.
func TestManyPeriods(t *testing.T) {
	e := newEnv(t)
	tr := e.trail("mine")
	var want []string
	for range 100 {
		want = append(want, e.some(1)...)
		e.ok(e.set.Stop(t.Context(), tr.Ref))
		e.pass(2 * time.Second)
		e.ok(e.set.Start(t.Context(), tr.Ref))
		e.pass(2 * time.Second)
	}
	got, err := e.set.Get(t.Context(), tr.Ref)
	e.ok(err)
	if n := len(got.Periods); n > 32 {
		t.Errorf("%d periods are kept", n)
	}
	e.deliver()
	e.run()
	e.gets("", want)
}

func TestOrganizationTrail(t *testing.T) {
	e := newEnv(t)
	const id = "o-exampleorgid"
	member := "777788889999"
	e.members = map[string]*call.Organization{ours: {ID: id, Master: ours, Management: true}, member: {ID: id, Master: ours}}
	tr := e.trail("all", func(t *trail.Trail) { t.Organization, t.MultiRegion = true, true })
	want := e.write(event{}, event{Account: member}, event{Account: member, Region: other})
	e.write(event{Account: theirs})
	e.deliver()
	e.run()
	e.settled(tr)
	e.gets("AWSLogs/"+id+"/", want)
	if got := e.in(bucket, "AWSLogs/"+id+"/"+member+"/CloudTrail/"); len(got) != 2 {
		t.Errorf("of the member: %v", got)
	}
	if got := e.in(bucket, ""); len(got) != len(want) {
		t.Errorf("in all: %v", got)
	}
}

// TestAgain: what is copied again replaces itself.
func TestAgain(t *testing.T) {
	e := newEnv(t)
	tr := e.trail("mine")
	want := e.some(2)
	e.deliver()
	// The server takes the object, and dies before it says so.
	mend := e.fault(func(w http.ResponseWriter, r *http.Request) bool {
		e.s3.SetFault(nil)
		e.s3.ServeHTTP(discard{http.Header{}}, r)
		panic(http.ErrAbortHandler)
	})
	e.run()
	e.settled(tr)
	mend()
	e.gets("", want)
	objects := e.s3.Objects(bucket)
	if len(objects) != 1 || e.s3.Puts() != 2 {
		t.Errorf("%d objects of %d puts, want 1 of 2", len(objects), e.s3.Puts())
	}
	// Two trails that copy the same into the same bucket are not in each other's way.
	e.trail("second")
	e.some(1)
	e.deliver()
	e.until("both have copied", func() bool { return len(e.logs(bucket)) == 3 })
}

// discard is an answer that nobody gets.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

func TestRestart(t *testing.T) {
	e := newEnv(t)
	tr := e.trail("mine")
	want := e.some(2)
	e.deliver()
	e.run()
	e.gets("", want)
	e.settled(tr)
	puts := e.s3.Puts()
	e.reopen()
	want = append(want, e.some(1)...)
	e.deliver()
	e.run()
	e.gets("", want)
	e.settled(tr)
	if n := e.s3.Puts() - puts; n != 1 {
		t.Errorf("%d objects were put after the restart, want 1", n)
	}
}

// TestBadBuckets: a bucket that does not take what it is given is told of in
// the status, tried again, and gets everything when it is well.
func TestBadBuckets(t *testing.T) {
	tests := []struct {
		name    string
		change  func(*env)
		fault   func(w http.ResponseWriter, r *http.Request) bool
		mend    func(*env)
		failure string
	}{
		{name: "answers 500", fault: func(w http.ResponseWriter, _ *http.Request) bool {
			s3Fail(w, http.StatusInternalServerError, "InternalError")
			return true
		}, failure: "InternalError"},
		{name: "full", fault: func(w http.ResponseWriter, _ *http.Request) bool {
			s3Fail(w, http.StatusInsufficientStorage, "XMinioStorageFull")
			return true
		}, failure: "XMinioStorageFull"},
		{name: "slow down", fault: func(w http.ResponseWriter, _ *http.Request) bool {
			s3Fail(w, http.StatusServiceUnavailable, "SlowDown")
			return true
		}, failure: "SlowDown"},
		{name: "closes", fault: func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }, failure: "ConnectionFailed"},
		{name: "hangs", change: func(e *env) { e.options.Patience = 300 * time.Millisecond }, fault: func(_ http.ResponseWriter, r *http.Request) bool {
			return hang(r)
		}, failure: "RequestTimeout"},
		{name: "answers too slowly", change: func(e *env) { e.options.Patience = 300 * time.Millisecond }, fault: func(w http.ResponseWriter, r *http.Request) bool {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Length", "1000000")
			w.WriteHeader(http.StatusInternalServerError)
			for r.Context().Err() == nil {
				_, _ = w.Write([]byte(" "))
				_ = http.NewResponseController(w).Flush()
				time.Sleep(time.Millisecond)
			}
			return true
		}},
		{name: "redirects", fault: func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Location", "http://192.0.2.1/")
			s3Fail(w, http.StatusTemporaryRedirect, "TemporaryRedirect")
			return true
		}, failure: "TemporaryRedirect"},
		{name: "answers nonsense", fault: func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = w.Write([]byte("<html>"))
			return true
		}},
		{name: "wrong secret", change: func(e *env) {
			e.options.Buckets[0].CredentialsFile = e.credentials("bad", e.s3.AccessKeyID, strings.Repeat("x", 40))
		}, mend: func(e *env) {
			path := e.credentials("bad", e.s3.AccessKeyID, e.s3.Secret)
			e.ok(os.Chtimes(path, time.Time{}, time.Now().Add(time.Minute))) // whatever the clock's resolution
		}, failure: "SignatureDoesNotMatch"},
		{name: "no such access key", change: func(e *env) {
			e.options.Buckets[0].CredentialsFile = e.credentials("bad", "AKIAXXXXXXXXXXXXXXXX", e.s3.Secret)
		}, mend: func(e *env) {
			path := e.credentials("bad", e.s3.AccessKeyID, e.s3.Secret)
			e.ok(os.Chtimes(path, time.Time{}, time.Now().Add(time.Minute)))
		}, failure: "InvalidAccessKeyId"},
		{name: "no credentials", change: func(e *env) {
			e.options.Buckets[0].CredentialsFile = e.dir + "/none"
		}, mend: func(e *env) {
			e.ok(os.Rename(e.credentials("late", e.s3.AccessKeyID, e.s3.Secret), e.dir+"/none"))
		}, failure: "CredentialsNotFound"},
		{name: "credentials for all to read", change: func(e *env) {
			e.ok(os.Chmod(e.options.Buckets[0].CredentialsFile, 0o644))
		}, mend: func(e *env) {
			e.ok(os.Chmod(e.options.Buckets[0].CredentialsFile, 0o600))
		}, failure: "CredentialsNotFound"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var change []func(*env)
			if tt.change != nil {
				change = append(change, tt.change)
			}
			e := newEnv(t, change...)
			mend := func() {
				if tt.mend != nil {
					tt.mend(e)
				}
			}
			if tt.fault != nil {
				mend = e.fault(tt.fault)
			}
			tr := e.trail("mine")
			want := e.some(3)
			e.deliver()
			e.run()
			e.until("the failure is told", func() bool { return e.status(tr).Bucket.Failure != "" })
			s := e.status(tr).Bucket
			if tt.failure != "" && s.Failure != tt.failure {
				t.Errorf("the failure is %q, want %q", s.Failure, tt.failure)
			}
			if !s.Delivered.IsZero() || !s.Attempted.Equal(e.clock()) {
				t.Errorf("status: %+v", s)
			}
			e.pass(time.Minute)
			e.until("it is measured", func() bool {
				k := e.set.Sinks()[0]
				return k.Failing == 1 && k.Failures > 0 && k.Lag >= time.Minute
			})
			mend()
			e.gets("", want)
			if s := e.settled(tr).Bucket; s.Failure != "" || s.Delivered.IsZero() {
				t.Errorf("status at last: %+v", s)
			}
			e.until("it is measured", func() bool {
				k := e.set.Sinks()[0]
				return k.Failing == 0 && k.Lag == 0
			})
			if e.output.has(e.s3.Secret) || e.output.has("xxxxxxxx") {
				t.Error("a secret is in the log")
			}
		})
	}
}

// hang takes a request, and never answers.
func hang(r *http.Request) bool {
	_, _ = io.Copy(io.Discard, r.Body) // before, the end of the connection is not noticed
	<-r.Context().Done()
	return true
}

func s3Fail(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = w.Write([]byte("<Error><Code>" + code + "</Code><Message>no</Message></Error>"))
}

// TestNeighbours: a bucket that hangs holds up no trail that copies to another.
func TestNeighbours(t *testing.T) {
	e := newEnv(t, func(e *env) {
		e.s3.Buckets = append(e.s3.Buckets, "other-trail")
		b := e.options.Buckets[0]
		b.Name = "other-trail"
		e.options.Buckets = append(e.options.Buckets, b)
	})
	mend := e.fault(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/"+bucket+"/") {
			return hang(r)
		}
		return false
	})
	for _, name := range []string{"one", "two", "three", "four"} {
		e.trail(name)
	}
	well := e.trail("well", func(t *trail.Trail) { t.Bucket = "other-trail" })
	want := e.some(2)
	e.deliver()
	e.run()
	e.settled(well)
	if got := e.in("other-trail", ""); !slices.Equal(got, want) {
		t.Errorf("copied %v, want %v", got, want)
	}
	// It ends at once, for all that hangs.
	e.halt()
	mend()
}

func TestLock(t *testing.T) {
	e := newEnv(t, func(e *env) {
		e.s3.Locking = []string{bucket}
		e.options.Buckets[0].LockMode, e.options.Buckets[0].LockDays = "compliance", 30
	})
	e.trail("mine")
	want := e.some(1)
	e.deliver()
	e.run()
	e.gets("", want)
	for name, o := range e.s3.Objects(bucket) {
		if o.LockMode != "COMPLIANCE" || !o.LockUntil.Equal(start.AddDate(0, 0, 30)) {
			t.Errorf("%s is locked %s until %v", name, o.LockMode, o.LockUntil)
		}
	}
}

// TestAltered: what somebody has changed in the archive is not copied as if it
// had been recorded.
func TestAltered(t *testing.T) {
	e := newEnv(t)
	tr := e.trail("mine")
	e.some(2)
	e.deliver()
	files, err := e.archive.Files(0, 1)
	e.ok(err)
	path := e.archive.Path(files[0].Path)
	text, err := os.ReadFile(path)
	e.ok(err)
	text[len(text)/2] ^= 1
	e.ok(os.WriteFile(path, text, 0o600))
	want := e.some(1)
	e.deliver()
	e.run()
	e.gets("", want)
	if s := e.settled(tr).Bucket; s.Lost != 1 {
		t.Errorf("lost: %d, want 1", s.Lost)
	}
	e.until("it is measured", func() bool { return e.set.Sinks()[0].Lost == 1 })
	if !e.output.has("was altered") {
		t.Error("the log does not tell")
	}
}

// TestTakenAway: a bucket that is closed to an account gets nothing more of it.
func TestTakenAway(t *testing.T) {
	e := newEnv(t)
	tr := e.trail("mine")
	e.options.Buckets[0].Accounts = []string{theirs}
	e.reopen()
	e.some(1)
	e.deliver()
	e.run()
	e.until("it is refused", func() bool { return e.status(tr).Bucket.Failure == "AccessDenied" })
	e.options.Buckets = nil
	e.reopen()
	e.run()
	e.until("it is not there", func() bool { return e.status(tr).Bucket.Failure == "NoSuchBucket" })
	if e.s3.Puts() != 0 {
		t.Error("something was copied")
	}
}

// TestDelete: a trail that is deleted copies nothing more, also while it hangs.
func TestDelete(t *testing.T) {
	e := newEnv(t)
	mend := e.fault(func(_ http.ResponseWriter, r *http.Request) bool { return hang(r) })
	tr := e.trail("mine")
	e.some(1)
	e.deliver()
	e.run()
	e.until("it tries", func() bool { return e.set.Sinks()[0].Lag > 0 || e.set.Sinks()[0].Trails == 1 })
	e.ok(e.set.Delete(t.Context(), tr.Ref))
	e.until("nobody copies", func() bool { return e.set.Sinks()[0].Trails == 0 })
	mend()
	e.wants("Status", errOf(e.set.Status(t.Context(), tr.Ref)), trail.ErrNotFound)
	// One of its name begins anew.
	e.pass(time.Second)
	again := e.trail("mine")
	want := e.some(1)
	e.deliver()
	e.gets("", want)
	e.settled(again)
}

func errOf[V any](_ V, err error) error { return err }

// TestAddresses: where the name of a sink leads is looked at.
func TestAddresses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*env, *config.Bucket)
		fails  bool
	}{
		{"an address", func(*env, *config.Bucket) {}, false},
		{"a name", func(_ *env, b *config.Bucket) { b.Endpoint = strings.Replace(b.Endpoint, "127.0.0.1", "localhost", 1) }, true},
		{"a name that the operator allows", func(e *env, b *config.Bucket) {
			b.Endpoint = strings.Replace(b.Endpoint, "127.0.0.1", "localhost", 1)
			e.options.Outbound.Networks = loopback
		}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := newEnv(t, func(e *env) { tt.change(e, &e.options.Buckets[0]) })
			tr := e.trail("mine")
			want := e.some(1)
			e.deliver()
			e.run()
			if !tt.fails {
				e.gets("", want)
				return
			}
			e.until("it is refused", func() bool { return e.status(tr).Bucket.Failure == "AddressNotAllowed" })
		})
	}
}

func TestRunEnds(t *testing.T) {
	e := newEnv(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e.set.Run(ctx)
}

// TestManyWait: where a bucket hangs, not each of many trails waits for it in
// its turn.
func TestManyWait(t *testing.T) {
	const accounts = 20
	e := newEnv(t, func(e *env) {
		e.options.Patience, e.options.Rest = 500*time.Millisecond, time.Minute // at rest as long as the patience
		e.options.Buckets[0].Accounts = []string{trail.AnyAccount}
	})
	mend := e.fault(func(_ http.ResponseWriter, r *http.Request) bool { return hang(r) })
	var trails []trail.Trail
	var events []event
	for n := range accounts {
		account := fmt.Sprintf("1111222233%02d", n)
		trails = append(trails, e.trail("mine", func(t *trail.Trail) { t.Account = account }))
		events = append(events, event{Account: account})
	}
	want := e.write(events...)
	e.deliver()
	e.run()
	e.until("all have failed", func() bool {
		return !slices.ContainsFunc(trails, func(tr trail.Trail) bool { return e.status(tr).Bucket.Failure != "RequestTimeout" })
	})
	if !e.output.has("since a moment ago") {
		t.Error("each has waited by itself")
	}
	mend()
	e.gets("", want)
}

// TestSecureBuckets: certificates count, and requests are signed with what they
// carry as without TLS.
func TestSecureBuckets(t *testing.T) {
	ca, foreign := newAuthority(t), newAuthority(t)
	tests := []struct {
		name    string
		change  func(*env)
		failure string
	}{
		{"its authority", func(e *env) { e.options.Buckets[0].CA = ca.file }, ""},
		{"that of all", func(e *env) { e.options.Outbound.Roots = ca.pool }, ""},
		{"another authority", func(e *env) { e.options.Buckets[0].CA, e.options.Outbound.Roots = foreign.file, ca.pool }, "TLSFailed"},
		{"those of the system", func(*env) {}, "TLSFailed"},
		{"another name", func(e *env) {
			e.options.Buckets[0].CA = ca.file
			e.options.Buckets[0].Endpoint = strings.Replace(e.options.Buckets[0].Endpoint, "127.0.0.1", "localhost", 1)
			e.options.Outbound.Networks = loopback
		}, "TLSFailed"},
		{"later than the certificate", func(e *env) {
			e.options.Buckets[0].CA = ca.file
			e.pass(2 * 366 * 24 * time.Hour)
		}, "TLSFailed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := newEnv(t, func(e *env) {
				secure := httptest.NewUnstartedServer(e.s3)
				secure.TLS = ca.server(t)
				secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
				secure.StartTLS()
				t.Cleanup(secure.Close)
				e.options.Buckets[0].Endpoint = secure.URL
			}, tt.change)
			tr := e.trail("mine", validated)
			want := e.some(3)
			e.deliver()
			e.run()
			if tt.failure == "" {
				e.gets("", want)
				return
			}
			e.until("it is refused", func() bool { return e.status(tr).Bucket.Failure == tt.failure })
			if e.s3.Puts() != 0 {
				t.Error("something was copied")
			}
		})
	}
}
