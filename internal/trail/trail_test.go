package trail_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/internal/trail"
)

func TestTrails(t *testing.T) {
	e := newEnv(t)
	ctx := t.Context()
	want := trail.Trail{
		Ref: trail.Ref{Account: ours, Region: region, Name: "mine"}, Bucket: bucket, Prefix: "p", GlobalServices: true, MultiRegion: true, Validation: true,
		Selectors: []trail.Selector{{ReadWrite: trail.WriteOnly, Management: true, Excluded: []string{"kms.amazonaws.com"}}},
		Tags:      []trail.Tag{{Key: "b", Value: "1"}, {Key: "a", Value: ""}},
	}
	made, err := e.set.Create(ctx, want)
	e.ok(err)
	if made.ID == "" || !made.Created.Equal(start) || made.Logging() {
		t.Errorf("made: %+v", made)
	}
	got, err := e.set.Get(ctx, want.Ref)
	e.ok(err)
	if fmt.Sprint(got) != fmt.Sprint(made) {
		t.Errorf("Get() = %+v, want %+v", got, made)
	}
	if arn := got.ARN(); arn != "arn:aws:cloudtrail:eu-central-1:111122223333:trail/mine" {
		t.Errorf("ARN() = %s", arn)
	}
	changed, err := e.set.Update(ctx, want.Ref, func(t *trail.Trail) error {
		t.Prefix, t.ID, t.Name, t.Periods = "", "x", "other", []trail.Period{{}}
		return nil
	})
	e.ok(err)
	if changed.Prefix != "" || changed.ID != made.ID || changed.Name != "mine" || changed.Logging() {
		t.Errorf("changed: %+v", changed)
	}
	mine := errors.New("mine")
	e.wants("an Update that refuses", errOf(e.set.Update(ctx, want.Ref, func(*trail.Trail) error { return mine })), mine)
	e.ok(e.set.Start(ctx, want.Ref))
	e.pass(time.Minute)
	e.ok(e.set.Start(ctx, want.Ref)) // goes on
	if s := e.status(made); !s.Logging || !s.Started.Equal(start) {
		t.Errorf("started: %+v", s)
	}
	e.ok(e.set.Stop(ctx, want.Ref))
	if s := e.status(made); s.Logging || !s.Stopped.Equal(start.Add(time.Minute)) {
		t.Errorf("stopped: %+v", s)
	}
	e.reopen()
	list, err := e.set.OfAccount(ctx, ours)
	e.ok(err)
	if len(list) != 1 || list[0].ID != made.ID {
		t.Errorf("OfAccount() = %+v", list)
	}
	e.ok(e.set.Delete(ctx, want.Ref))
	e.wants("Get", errOf(e.set.Get(ctx, want.Ref)), trail.ErrNotFound)
	e.wants("Update", errOf(e.set.Update(ctx, want.Ref, func(*trail.Trail) error { return nil })), trail.ErrNotFound)
	e.wants("Delete", e.set.Delete(ctx, want.Ref), trail.ErrNotFound)
	e.wants("Start", e.set.Start(ctx, want.Ref), trail.ErrNotFound)
	e.wants("Stop", e.set.Stop(ctx, want.Ref), trail.ErrNotFound)
	again, err := e.set.Create(ctx, want)
	e.ok(err)
	if again.ID == made.ID {
		t.Error("a trail that was made anew has the old one's id")
	}
}

func TestInvalidTrails(t *testing.T) {
	e := newEnv(t, func(e *env) {
		e.options.LogGroups = []config.LogGroup{
			{Name: "open", Address: "tcp://192.0.2.1:601", Accounts: []string{trail.AnyAccount}},
			{Name: "closed", Address: "tcp://192.0.2.1:601", Accounts: []string{theirs}},
		}
	})
	many := func(n int) (tags []trail.Tag) {
		for i := range n {
			tags = append(tags, trail.Tag{Key: fmt.Sprint(i)})
		}
		return tags
	}
	tests := []struct {
		name   string
		change func(*trail.Trail)
		want   error // nil: it is valid
	}{
		{"plain", func(*trail.Trail) {}, nil},
		{"short name", func(t *trail.Trail) { t.Name = "ab" }, trail.ErrInvalid},
		{"long name", func(t *trail.Trail) { t.Name = strings.Repeat("a", 129) }, trail.ErrInvalid},
		{"longest name", func(t *trail.Trail) { t.Name = strings.Repeat("a", 128) }, nil},
		{"name with a slash", func(t *trail.Trail) { t.Name = "a/b" }, trail.ErrInvalid},
		{"name like a number", func(t *trail.Trail) { t.Name = "192.168.5.4" }, trail.ErrInvalid},
		{"name with two dots", func(t *trail.Trail) { t.Name = "my..trail" }, trail.ErrInvalid},
		{"name with a dash at its end", func(t *trail.Trail) { t.Name = "my-trail-" }, trail.ErrInvalid},
		{"no bucket", func(t *trail.Trail) { t.Bucket = "" }, trail.ErrInvalid},
		{"another bucket", func(t *trail.Trail) { t.Bucket = "another" }, trail.ErrNoBucket},
		{"a bucket that is not ours", func(t *trail.Trail) { t.Account = theirs }, trail.ErrBucketClosed},
		{"long prefix", func(t *trail.Trail) { t.Prefix = strings.Repeat("ä", 201) }, trail.ErrInvalid},
		{"longest prefix", func(t *trail.Trail) { t.Prefix = strings.Repeat("ä", 200) }, nil},
		{"slash at the end", func(t *trail.Trail) { t.Prefix = "a/" }, trail.ErrInvalid},
		{"prefix with a line break", func(t *trail.Trail) { t.Prefix = "a\nb" }, trail.ErrInvalid},
		{"six selectors", func(t *trail.Trail) {
			t.Selectors = slices.Repeat([]trail.Selector{trail.DefaultSelector()}, 6)
		}, trail.ErrInvalid},
		{"a selector of nothing", func(t *trail.Trail) { t.Selectors = []trail.Selector{{}} }, trail.ErrInvalid},
		{"51 tags", func(t *trail.Trail) { t.Tags = many(51) }, trail.ErrInvalid},
		{"50 tags", func(t *trail.Trail) { t.Tags = many(50) }, nil},
		{"a log group", func(t *trail.Trail) { t.LogGroup = "arn:aws:logs:eu-central-1:" + ours + ":log-group:open:*" }, nil},
		{"a log group of others", func(t *trail.Trail) { t.LogGroup = "arn:aws:logs:eu-central-1:" + theirs + ":log-group:open:*" }, trail.ErrNoLogGroup},
		{"a closed log group", func(t *trail.Trail) { t.LogGroup = "arn:aws:logs:eu-central-1:" + ours + ":log-group:closed:*" }, trail.ErrNoLogGroup},
		{"no log group", func(t *trail.Trail) { t.LogGroup = "arn:aws:logs:eu-central-1:" + ours + ":log-group:none:*" }, trail.ErrNoLogGroup},
		{"not a log group", func(t *trail.Trail) { t.LogGroup = "open" }, trail.ErrNoLogGroup},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := trail.Trail{Ref: trail.Ref{Account: ours, Region: region, Name: "mine"}, Bucket: bucket}
			tt.change(&tr)
			_, err := e.set.Create(t.Context(), tr)
			if !errors.Is(err, tt.want) {
				t.Fatalf("Create() = %v, want %v", err, tt.want)
			}
			if err == nil {
				e.ok(e.set.Delete(t.Context(), tr.Ref))
			}
		})
	}
}

// TestManyTrails: names are unique in a Region, and five are the most, where
// trails of all Regions count in each.
func TestManyTrails(t *testing.T) {
	e := newEnv(t)
	create := func(name, home string, everywhere bool) error {
		_, err := e.set.Create(t.Context(), trail.Trail{Ref: trail.Ref{Account: ours, Region: home, Name: name}, Bucket: bucket, MultiRegion: everywhere})
		return err
	}
	for _, name := range []string{"one", "two", "three"} {
		e.ok(create(name, region, false))
	}
	e.wants("the same", create("one", region, false), trail.ErrExists)
	e.ok(create("one", other, false))
	e.wants("the same everywhere", create("two", other, true), trail.ErrExists)
	e.ok(create("all", other, true))
	e.wants("the same as one of all Regions", create("all", region, false), trail.ErrExists)
	e.ok(create("five", region, false))
	e.wants("a sixth", create("six", region, false), trail.ErrTooMany)
	e.wants("a sixth everywhere", create("six", "us-east-1", true), trail.ErrTooMany)
	e.ok(create("six", other, false))
	everywhere := func(v bool) func(*trail.Trail) error {
		return func(t *trail.Trail) error { t.MultiRegion = v; return nil }
	}
	six := trail.Ref{Account: ours, Region: other, Name: "six"}
	e.wants("one that is to be everywhere", errOf(e.set.Update(t.Context(), six, everywhere(true))), trail.ErrTooMany)
	e.ok(e.set.Delete(t.Context(), trail.Ref{Account: ours, Region: region, Name: "two"}))
	e.ok(errOf(e.set.Update(t.Context(), six, everywhere(true))))
	e.wants("a sixth", create("two", region, false), trail.ErrTooMany)
	e.ok(errOf(e.set.Update(t.Context(), six, everywhere(false))))
	e.ok(create("two", region, false))
}

// TestTrailsAtOnce: of many that make trails at the same time, five succeed.
func TestTrailsAtOnce(t *testing.T) {
	e := newEnv(t)
	var work sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		work.Go(func() {
			_, errs[i] = e.set.Create(t.Context(), trail.Trail{Ref: trail.Ref{Account: ours, Region: region, Name: fmt.Sprintf("trail%d", i)}, Bucket: bucket})
		})
	}
	work.Wait()
	made := 0
	for _, err := range errs {
		switch {
		case err == nil:
			made++
		case !errors.Is(err, trail.ErrTooMany):
			t.Error(err)
		}
	}
	list, err := e.set.OfAccount(t.Context(), ours)
	e.ok(err)
	if made != trail.MaxPerRegion || len(list) != made {
		t.Errorf("%d were made, %d are there, want %d", made, len(list), trail.MaxPerRegion)
	}
}

// TestBadSettings: what can't be read is said when the node starts.
func TestBadSettings(t *testing.T) {
	e := newEnv(t)
	o := e.options
	o.Buckets = slices.Clone(o.Buckets)
	o.Buckets[0].CA = e.dir + "/none"
	if _, err := trail.New(e.records, o); err == nil || !strings.Contains(err.Error(), bucket) {
		t.Errorf("a bucket whose authorities can't be read: %v", err)
	}
	o.Buckets[0].CA = o.Buckets[0].CredentialsFile
	if _, err := trail.New(e.records, o); err == nil || strings.Contains(err.Error(), e.s3.Secret) {
		t.Errorf("a bucket whose authorities are none: %v", err)
	}
	o = e.options
	o.LogGroups = []config.LogGroup{{Name: "g", Address: "tls://192.0.2.1:6514", CA: e.dir + "/none"}}
	if _, err := trail.New(e.records, o); err == nil || !strings.Contains(err.Error(), "log group g") {
		t.Errorf("a log group whose authorities can't be read: %v", err)
	}
}

func FuzzLogGroupName(f *testing.F) {
	for _, s := range []string{"arn:aws:logs:eu-central-1:111122223333:log-group:a:*", "arn:aws:logs::1:log-group:", "arn:aws:logs:r:111122223333:log-group:/a/b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		account, name, ok := trail.LogGroupName(s)
		if ok && (len(account) != 12 || name == "" || !strings.Contains(s, ":log-group:"+name)) {
			t.Errorf("LogGroupName(%q) = %q, %q", s, account, name)
		}
	})
}
