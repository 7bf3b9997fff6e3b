//go:build rig

package rig_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/sigv4"
)

// The accounts of the rig: the one that calls, and another one whose keys it
// may use.
const (
	rigAccount     = "111122223333"
	foreignAccount = "444455556666"

	foreignKey = "arn:aws:kms:us-east-1:" + foreignAccount + ":key/44444444-4444-4444-8444-444444444444"
	closedKey  = "arn:aws:kms:us-east-1:" + foreignAccount + ":key/55555555-5555-4555-8555-555555555555"
)

// peopled makes the installation start with the accounts, and returns the
// credentials of an administrator of the other one.
func (in *installation) peopled(t testing.TB) sigv4.Credentials {
	t.Helper()
	file := filepath.Join(t.TempDir(), "seed.yaml")
	text := fmt.Sprintf(`
accounts:
  - {id: %[1]q, management: true}
  - {id: %[2]q}
users:
  - account: %[2]q
    name: bob
    policies: [AdministratorAccess]
    access_keys: [{id: AKIARIGRIGRIGRIG0002, secret: the-secret-of-bob-which-only-the-rig-knows}]
keys:
  - {account: %[2]q, region: us-east-1, id: 44444444-4444-4444-8444-444444444444}
  - {account: %[2]q, region: us-east-1, id: 55555555-5555-4555-8555-555555555555}
`, rigAccount, foreignAccount)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	in.args = append(in.args, "--account", rigAccount, "--seed", file)
	return sigv4.Credentials{AccessKeyID: "AKIARIGRIGRIGRIG0002", Key: sigv4.NewKey(secret.New([]byte("the-secret-of-bob-which-only-the-rig-knows")))}
}

// share lets the rig's account use a key of the other one.
func share(t testing.TB, s *server, bob sigv4.Credentials) {
	t.Helper()
	b := &server{endpoint: s.endpoint, env: s.env, http: s.http, creds: bob}
	statement := func(account string) object {
		return object{"Effect": "Allow", "Principal": object{"AWS": account}, "Action": "kms:*", "Resource": "*"}
	}
	text, err := json.Marshal(object{"Version": "2012-10-17", "Statement": []object{statement(foreignAccount), statement(rigAccount)}})
	if err != nil {
		t.Fatal(err)
	}
	b.must(t, "PutKeyPolicy", object{"KeyId": foreignKey, "PolicyName": "default", "Policy": string(text)})
}

// An answered call, as far as its records depend on it.
type answered struct {
	id      string
	name    string
	foreign bool // with a key of the other account, and it succeeded
}

// A reader uses keys of its own account and of the other one, and is denied
// what it may not do.
type reader struct {
	r         *rand.Rand
	own       string // key
	blobs     []string
	completed []answered
}

// read makes one call that changes nothing. It returns false when the server is
// gone.
func (rd *reader) read(ctx context.Context, s *server) (bool, error) {
	var operation string
	var in object
	var foreign, denied bool
	switch p := rd.r.IntN(10); {
	case p < 2 || len(rd.blobs) == 0:
		operation, in = "Encrypt", object{"KeyId": rd.own, "Plaintext": "cGxhaW50ZXh0"}
	case p < 4:
		operation, in = "Decrypt", object{"CiphertextBlob": rd.blobs[rd.r.IntN(len(rd.blobs))]}
	case p < 6:
		operation, in, foreign = "GenerateDataKey", object{"KeyId": foreignKey, "KeySpec": "AES_256"}, true
	case p < 8:
		operation, in, foreign = "DescribeKey", object{"KeyId": foreignKey}, true
	case p < 9:
		operation, in = "GenerateRandom", object{"NumberOfBytes": 16}
	default:
		operation, in, denied = "GenerateDataKey", object{"KeyId": closedKey, "KeySpec": "AES_256"}, true
	}
	out, id, err := s.callID(ctx, operation, in)
	var f *fault
	switch {
	case errors.As(err, &f) && denied && f.Code == "AccessDeniedException":
	case err != nil:
		return gone(err)
	case denied:
		return false, fmt.Errorf("%s with a key of another account is not denied", operation)
	}
	if operation == "Encrypt" && len(rd.blobs) < 10 {
		rd.blobs = append(rd.blobs, out.str("CiphertextBlob"))
	}
	rd.completed = append(rd.completed, answered{id, operation, foreign})
	return true, nil
}

// An entry is what is looked at of a record.
type entry struct {
	Name       string `json:"eventName"`
	ID         string `json:"eventID"`
	SharedID   string `json:"sharedEventID"`
	RequestID  string `json:"requestID"`
	Recipient  string `json:"recipientAccountId"`
	ErrorCode  string `json:"errorCode"`
	Parameters object `json:"requestParameters"`
	Resources  []struct {
		ARN string `json:"ARN"`
	} `json:"resources"`

	where string
}

// A trail is all records of an installation, by request id.
type trail struct {
	entries int
	of      map[string][]*entry
}

// trail reads all records of an installation, which must not run: those in the
// journal and those in the archive. It fails if something is no record, or
// stands there twice.
func (in *installation) trail(t testing.TB) *trail {
	t.Helper()
	all := &trail{of: make(map[string][]*entry)}
	seen := make(map[string]*entry)
	add := func(where string, text []byte) {
		e := &entry{where: where}
		if err := json.Unmarshal(text, e); err != nil || e.Name == "" || e.ID == "" {
			t.Errorf("%s is no record: %v", where, err)
			return
		}
		if other := seen[e.ID]; other != nil {
			t.Errorf("the event %s (%s) stands at %s and at %s", e.ID, e.Name, other.where, where)
			return
		}
		seen[e.ID] = e
		all.entries++
		all.of[e.RequestID] = append(all.of[e.RequestID], e)
	}
	journal := filepath.Join(in.data, "audit")
	for _, path := range in.files(t, ".jsonl") {
		if filepath.Dir(path) == journal {
			readJournal(t, path, add)
		}
	}
	for _, path := range in.files(t, ".json.gz") {
		if strings.Contains(path, "/CloudTrail/") {
			readFile(t, path, add)
		}
	}
	if all.entries == 0 {
		t.Fatal("there is no record at all")
	}
	return all
}

// delivered waits until the records of all segments but the newest are in the
// archive. What was being delivered when a server was killed stands there and in
// the journal until it is done.
func (in *installation) delivered(t testing.TB) {
	t.Helper()
	journal := filepath.Join(in.data, "audit")
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		segments, err := filepath.Glob(filepath.Join(journal, "*.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		if len(segments) <= 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d segments of the journal are not delivered\n%s", len(segments)-1, in.tail())
		}
	}
}

func readJournal(t testing.TB, path string, add func(where string, text []byte)) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		line := lines.Bytes()
		if bytes.HasPrefix(line, []byte(`{"journal":`)) || bytes.HasPrefix(line, []byte(`{"tag":`)) {
			continue // of the chain
		}
		add(fmt.Sprintf("%s:%d", path, n), line)
	}
	if err := lines.Err(); err != nil {
		t.Errorf("%s: %v", path, err)
	}
}

func readFile(t testing.TB, path string, add func(where string, text []byte)) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var text []byte
	z, err := gzip.NewReader(f)
	if err == nil {
		text, err = io.ReadAll(z)
	}
	var file struct{ Records []json.RawMessage }
	if err == nil {
		err = json.Unmarshal(text, &file)
	}
	if err != nil {
		t.Errorf("%s: %v", path, err)
		return
	}
	for n, record := range file.Records {
		add(fmt.Sprintf("%s record %d", path, n), record)
	}
}

// missing returns what is wrong with the records of calls that were answered:
// each has one with its caller's account, and another one with the key's owner,
// which shares an id with it, if that is another account.
func (tr *trail) missing(calls []answered) (problems []string) {
	for _, c := range calls {
		var own, foreign *entry
		others := 0
		for _, e := range tr.of[c.id] {
			switch {
			case e.Recipient == rigAccount && own == nil:
				own = e
			case e.Recipient == foreignAccount && foreign == nil:
				foreign = e
			default:
				others++
			}
		}
		switch {
		case own == nil:
			problems = append(problems, fmt.Sprintf("the answered call %s (%s) has no record", c.id, c.name))
		case others > 0:
			problems = append(problems, fmt.Sprintf("the call %s (%s) has %d records too many", c.id, c.name, others))
		case c.foreign && (foreign == nil || own.SharedID == "" || own.SharedID != foreign.SharedID):
			problems = append(problems, fmt.Sprintf("the call %s (%s) has no record with the key's owner that belongs to its own", c.id, c.name))
		case !c.foreign && foreign != nil:
			problems = append(problems, fmt.Sprintf("the call %s (%s) has a record with an account that it is none of the business of", c.id, c.name))
		}
	}
	return problems
}

// standing returns which changes stand without a record. What the keys are is
// what was looked up after the last kill, whether or not somebody was answered.
func (tr *trail) standing(all []*writer) (problems []string) {
	done := make(map[string]bool) // "operation what"
	for _, entries := range tr.of {
		for _, e := range entries {
			if e.ErrorCode != "" {
				continue
			}
			p := e.Parameters
			switch e.Name {
			case "CreateKey", "UpdateKeyDescription":
				done[e.Name+" "+p.str("description")] = true
			case "CreateAlias":
				done[e.Name+" "+p.str("aliasName")] = true
			case "TagResource":
				for _, tag := range p.list("tags") {
					done[e.Name+" "+tag.str("tagValue")] = true
				}
			case "ScheduleKeyDeletion":
				for _, r := range e.Resources {
					done[e.Name+" "+r.ARN[strings.LastIndexByte(r.ARN, '/')+1:]] = true
				}
			}
		}
	}
	check := func(k *key, change string) {
		if !done[change] {
			problems = append(problems, fmt.Sprintf("key %s: %s stands without a record", k.id, change))
		}
	}
	for _, w := range all {
		for _, k := range w.keys {
			check(k, "CreateKey "+k.tags["born"])
			if k.description != k.tags["born"] {
				check(k, "UpdateKeyDescription "+k.description)
			}
			for name, value := range k.tags {
				if name != "born" {
					check(k, "TagResource "+value)
				}
			}
			for alias := range k.aliases {
				check(k, "CreateAlias "+alias)
			}
			if k.pending {
				check(k, "ScheduleKeyDeletion "+k.id)
			}
		}
	}
	return problems
}
