package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/sigv4"
)

var update = flag.Bool("update", false, "rewrite the expected outputs in testdata")

// The binary under test is this one: the scripts find it as keyreeve.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"keyreeve": main})
}

// patience is how long a script waits for a server.
const patience = 2 * time.Minute

// TestScripts runs the scripts in testdata. Besides testscript's own commands
// they have:
//
//	status N keyreeve ARG...   runs a command, whose exit status must be N
//	ready FILE                 waits for a ready file, and sets ENDPOINT, PRIVATE, PLAIN, CA and PID from it
//	term                       sends SIGTERM to PID
//	probe PATH N               asks the private listener, whose answer must have status N
//	kms OPERATION JSON         makes a call, signed as `keyreeve env` says, or with AWS_ACCESS_KEY_ID if that is set; its id becomes REQUEST_ID
//	replace DIR OLD NEW        replaces OLD by NEW once in the segments of the audit journal in DIR
//	let NAME MEMBER.MEMBER     sets a variable from the JSON on standard output
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"status": scriptStatus,
			"ready":  scriptReady,
			"term":   scriptTerm,
			"probe":  scriptProbe,
			"kms":    scriptKMS,
			"let":    scriptLet,

			"replace": scriptReplace,
		},
		Deadline: time.Now().Add(8 * time.Minute), // a server that should not have started runs until then
		Setup: func(e *testscript.Env) error {
			// A program with the race detector sleeps for a second before it ends.
			e.Setenv("GORACE", "atexit_sleep_ms=0")
			return nil
		},
		UpdateScripts:      *update,
		RequireUniqueNames: true,
	})
}

// takes ends the script unless a command was given n arguments, and is not to
// fail.
func takes(ts *testscript.TestScript, neg bool, args []string, n int, usage string) {
	if neg || len(args) != n {
		ts.Fatalf("usage: %s", usage)
	}
}

func scriptStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N keyreeve ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	status := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		status = exit.ExitCode()
	}
	if status != want {
		ts.Fatalf("exit status %d, want %d", status, want)
	}
}

func scriptReady(ts *testscript.TestScript, neg bool, args []string) {
	takes(ts, neg, args, 1, "ready FILE")
	var told struct {
		Endpoint, Plain, Private, CA string
		PID                          int
	}
	path := ts.MkAbs(args[0])
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		text, err := os.ReadFile(path)
		if err == nil {
			// It is never there in part.
			ts.Check(json.Unmarshal(text, &told))
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			ts.Fatalf("%v", err)
		}
		for _, server := range ts.BackgroundCmds() {
			if errors.Is(server.Process.Signal(syscall.Signal(0)), os.ErrProcessDone) {
				ts.Fatalf("a server has ended")
			}
		}
		if time.Now().After(deadline) {
			ts.Fatalf("no server is ready after %v", patience)
		}
	}
	ts.Setenv("ENDPOINT", told.Endpoint)
	ts.Setenv("PLAIN", told.Plain)
	ts.Setenv("PRIVATE", told.Private)
	ts.Setenv("CA", told.CA)
	ts.Setenv("PID", strconv.Itoa(told.PID))
}

func scriptTerm(ts *testscript.TestScript, neg bool, args []string) {
	takes(ts, neg, args, 0, "term")
	pid, err := strconv.Atoi(ts.Getenv("PID"))
	ts.Check(err)
	ts.Check(syscall.Kill(pid, syscall.SIGTERM))
}

func scriptProbe(ts *testscript.TestScript, neg bool, args []string) {
	takes(ts, neg, args, 2, "probe PATH N")
	res, err := http.Get("http://" + ts.Getenv("PRIVATE") + args[0])
	ts.Check(err)
	defer res.Body.Close()
	_, err = io.Copy(ts.Stdout(), res.Body)
	ts.Check(err)
	if strconv.Itoa(res.StatusCode) != args[1] {
		ts.Fatalf("%s answers %s, want %s", args[0], res.Status, args[1])
	}
}

func scriptKMS(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: kms OPERATION JSON")
	}
	clientEnv := map[string]string{"AWS_ENDPOINT_URL": ts.Getenv("ENDPOINT"), "AWS_CA_BUNDLE": ts.Getenv("CA")}
	if ts.Getenv("AWS_ACCESS_KEY_ID") != "" {
		for _, name := range []string{"AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
			clientEnv[name] = ts.Getenv(name)
		}
	} else {
		ts.Check(ts.Exec("keyreeve", "env", "--format", "json"))
		ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &clientEnv))
	}
	status, answer, id, err := callKMS(clientEnv, args[0], args[1])
	ts.Check(err)
	ts.Setenv("REQUEST_ID", id)
	if status == http.StatusOK {
		fmt.Fprintf(ts.Stdout(), "%s\n", answer)
	} else {
		fmt.Fprintf(ts.Stderr(), "%d %s\n", status, answer)
	}
	if (status != http.StatusOK) != neg {
		ts.Fatalf("%s answers %d", args[0], status)
	}
}

// callKMS makes one signed call.
func callKMS(clientEnv map[string]string, operation, body string) (status int, answer []byte, requestID string, err error) {
	transport := &http.Transport{DisableKeepAlives: true}
	if ca := clientEnv["AWS_CA_BUNDLE"]; ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return 0, nil, "", err
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	req, err := http.NewRequest(http.MethodPost, clientEnv["AWS_ENDPOINT_URL"]+"/", strings.NewReader(body))
	if err != nil {
		return 0, nil, "", err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "TrentService."+operation)
	credentials := sigv4.Credentials{
		AccessKeyID: clientEnv["AWS_ACCESS_KEY_ID"], Key: sigv4.NewKey(secret.New([]byte(clientEnv["AWS_SECRET_ACCESS_KEY"]))),
	}
	credentials.Sign(req, []byte(body), clientEnv["AWS_REGION"], "kms", time.Now())
	res, err := (&http.Client{Transport: transport, Timeout: patience}).Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(res.Body)
	return res.StatusCode, answer, res.Header.Get("X-Amzn-Requestid"), err
}

func scriptReplace(ts *testscript.TestScript, neg bool, args []string) {
	takes(ts, neg, args, 3, "replace DIR OLD NEW")
	paths, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "*.jsonl"))
	ts.Check(err)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		ts.Check(err)
		if changed := bytes.Replace(text, []byte(args[1]), []byte(args[2]), 1); !bytes.Equal(text, changed) {
			ts.Check(os.WriteFile(path, changed, 0o600))
			return
		}
	}
	ts.Fatalf("%s is in no segment", args[1])
}

func scriptLet(ts *testscript.TestScript, neg bool, args []string) {
	takes(ts, neg, args, 2, "let NAME MEMBER.MEMBER")
	var value any
	d := json.NewDecoder(bytes.NewReader([]byte(ts.ReadFile("stdout"))))
	ts.Check(d.Decode(&value))
	for name := range strings.SplitSeq(args[1], ".") {
		object, ok := value.(map[string]any)
		if !ok || object[name] == nil {
			ts.Fatalf("there is no %s", args[1])
		}
		value = object[name]
	}
	ts.Setenv(args[0], fmt.Sprint(value))
}
