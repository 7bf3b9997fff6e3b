package loadgen

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

const opRaw = "Raw"

// An operation builds the body of a KMS request for one key.
type operation struct {
	action     string // as in X-Amz-Target
	keySpec    string // of the key to create; empty if it needs none
	usage      string
	ciphertext bool // body gets one, made with an Encrypt call
	body       func(r *Requests, keyID string, blob []byte) map[string]any
}

var operations = map[string]operation{
	"GenerateDataKey":                 {action: "GenerateDataKey", keySpec: "SYMMETRIC_DEFAULT", body: dataKeyBody},
	"GenerateDataKeyWithoutPlaintext": {action: "GenerateDataKeyWithoutPlaintext", keySpec: "SYMMETRIC_DEFAULT", body: dataKeyBody},
	"Encrypt": {
		action: "Encrypt", keySpec: "SYMMETRIC_DEFAULT",
		body: func(r *Requests, id string, _ []byte) map[string]any {
			return r.withContext(map[string]any{"KeyId": id, "Plaintext": payload(r.Size)})
		},
	},
	"Decrypt": {
		action: "Decrypt", keySpec: "SYMMETRIC_DEFAULT", ciphertext: true,
		body: func(r *Requests, id string, blob []byte) map[string]any {
			return r.withContext(map[string]any{"KeyId": id, "CiphertextBlob": blob})
		},
	},
	"Sign-P256":    {action: "Sign", keySpec: "ECC_NIST_P256", usage: "SIGN_VERIFY", body: signBody("ECDSA_SHA_256")},
	"Sign-RSA2048": {action: "Sign", keySpec: "RSA_2048", usage: "SIGN_VERIFY", body: signBody("RSASSA_PSS_SHA_256")},
	"GenerateMac": {
		action: "GenerateMac", keySpec: "HMAC_256", usage: "GENERATE_VERIFY_MAC",
		body: func(r *Requests, id string, _ []byte) map[string]any {
			return map[string]any{"KeyId": id, "Message": payload(r.Size), "MacAlgorithm": "HMAC_SHA_256"}
		},
	},
	"DescribeKey": {
		action: "DescribeKey", keySpec: "SYMMETRIC_DEFAULT",
		body: func(_ *Requests, id string, _ []byte) map[string]any { return map[string]any{"KeyId": id} },
	},
	"CreateKey": {
		action: "CreateKey",
		body:   func(r *Requests, _ string, _ []byte) map[string]any { return createBody(r.KeySpec, "") },
	},
	"GenerateRandom": {
		action: "GenerateRandom",
		body:   func(r *Requests, _ string, _ []byte) map[string]any { return map[string]any{"NumberOfBytes": r.Size} },
	},
	"ListKeys": {
		action: "ListKeys",
		body:   func(*Requests, string, []byte) map[string]any { return map[string]any{"Limit": 100} },
	},
	"ListAliases": {
		action: "ListAliases",
		body:   func(*Requests, string, []byte) map[string]any { return map[string]any{"Limit": 100} },
	},
}

// Operations returns the operations that [Run] knows, sorted by name.
func Operations() []string {
	names := append(slices.Collect(maps.Keys(operations)), opRaw)
	slices.Sort(names)
	return names
}

func dataKeyBody(r *Requests, id string, _ []byte) map[string]any {
	return r.withContext(map[string]any{"KeyId": id, "KeySpec": "AES_256"})
}

func signBody(algorithm string) func(*Requests, string, []byte) map[string]any {
	return func(r *Requests, id string, _ []byte) map[string]any {
		digest := sha256.Sum256(payload(r.Size))
		return map[string]any{"KeyId": id, "Message": digest[:], "MessageType": "DIGEST", "SigningAlgorithm": algorithm}
	}
}

func createBody(spec, usage string) map[string]any {
	if spec == "" {
		spec = "SYMMETRIC_DEFAULT"
	}
	switch {
	case usage != "":
	case strings.HasPrefix(spec, "HMAC_"):
		usage = "GENERATE_VERIFY_MAC"
	case spec == "SYMMETRIC_DEFAULT":
		usage = "ENCRYPT_DECRYPT"
	default:
		usage = "SIGN_VERIFY"
	}
	return map[string]any{"KeySpec": spec, "KeyUsage": usage, "Description": "keyreeve bench"}
}

func (r *Requests) withContext(body map[string]any) map[string]any {
	if len(r.Context) > 0 {
		body["EncryptionContext"] = r.Context
	}
	return body
}

// payload is n fixed bytes that do not repeat with a short period.
func payload(n int) []byte {
	out := make([]byte, 0, n+sha256.Size)
	block := sha256.Sum256([]byte("keyreeve bench"))
	for len(out) < n {
		out = append(out, block[:]...)
		block = sha256.Sum256(block[:])
	}
	return out[:n]
}

// prepare makes every request that a run will send, creating keys and
// ciphertexts on the server where the operation needs them, and sends the
// first one once, so that a misconfiguration fails before anything is timed.
func prepare(ctx context.Context, c *Config, ep *endpoint) ([]*request, error) {
	cn := newConn(ep, &c.Load)
	defer cn.close()
	var reqs []*request
	var err error
	if c.Requests.Operation == opRaw {
		reqs, err = c.Requests.raw()
	} else {
		reqs, err = c.Requests.kms(ctx, cn)
	}
	if err != nil {
		return nil, err
	}
	if c.Load.Count > 0 && (c.Requests.Operation == "CreateKey" || c.Requests.Operation == opRaw) {
		return reqs, nil // exactly the count was asked for: no trial
	}
	answer, err := cn.call(reqs[0])
	if err != nil {
		return nil, err
	}
	if c.Show != nil {
		if _, err := fmt.Fprintf(c.Show, "%s\n%s\n", cn.describe(), answer); err != nil {
			return nil, err
		}
	}
	return reqs, nil
}

func (r *Requests) kms(ctx context.Context, cn *conn) ([]*request, error) {
	o := operations[r.Operation]
	ids := []string{""}
	if o.keySpec != "" {
		var err error
		if ids, err = r.keyIDs(ctx, cn, o); err != nil {
			return nil, err
		}
	}
	reqs := make([]*request, 0, len(ids))
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var out struct{ CiphertextBlob []byte }
		if o.ciphertext {
			if err := cn.callKMS("Encrypt", r.withContext(map[string]any{"KeyId": id, "Plaintext": payload(r.Size)}), &out); err != nil {
				return nil, fmt.Errorf("making a ciphertext: %w", err)
			}
		}
		req, err := kmsRequest(o.action, o.body(r, id, out.CiphertextBlob))
		if err != nil {
			return nil, err
		}
		reqs = append(reqs, req)
	}
	return reqs, nil
}

func (r *Requests) keyIDs(ctx context.Context, cn *conn, o operation) ([]string, error) {
	switch {
	case r.KeyID != "":
		return []string{r.KeyID}, nil
	case r.KeysFile != "":
		ids, err := readLines(r.KeysFile)
		if err == nil && len(ids) == 0 {
			err = fmt.Errorf("%s: no key ids", r.KeysFile)
		}
		return ids, err
	}
	return createKeys(ctx, cn, r.Keys, o)
}

// createKeys creates n keys for o over several connections like cn.
func createKeys(ctx context.Context, cn *conn, n int, o operation) ([]string, error) {
	ids := make([]string, n)
	var next atomic.Int64
	create := func(cn *conn) error {
		for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
			if err := ctx.Err(); err != nil {
				return err
			}
			var out createKeyAnswer
			body := createBody(o.keySpec, o.usage)
			if p := cn.ep.target.KeyPolicy; p != "" {
				body["Policy"] = p
			}
			if err := cn.callKMS("CreateKey", body, &out); err != nil {
				return fmt.Errorf("creating a key: %w", err)
			}
			ids[i] = out.KeyMetadata.KeyID
		}
		return nil
	}
	errs := make([]error, min(n, 32))
	var wg sync.WaitGroup
	for i := 1; i < len(errs); i++ {
		wg.Go(func() {
			more := &conn{ep: cn.ep, sign: cn.sign, timeout: cn.timeout}
			defer more.close()
			errs[i] = create(more)
		})
	}
	errs[0] = create(cn)
	wg.Wait()
	return ids, errors.Join(errs...)
}

type createKeyAnswer struct {
	KeyMetadata struct {
		KeyID string `json:"KeyId"`
	}
}

func kmsRequest(action string, body map[string]any) (*request, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	return newRequest("POST", "/", []string{"Content-Type: application/x-amz-json-1.1", "X-Amz-Target: TrentService." + action}, b)
}

// callKMS does one KMS call outside the measured runs.
func (c *conn) callKMS(action string, in map[string]any, out any) error {
	r, err := kmsRequest(action, in)
	if err != nil {
		return err
	}
	answer, err := c.call(r)
	if err != nil {
		return err
	}
	return json.Unmarshal(answer, out)
}

func (r *Requests) raw() ([]*request, error) {
	reqs := make([]*request, 0, r.Keys)
	for i := range r.Keys {
		number := strings.NewReplacer("{i}", strconv.Itoa(i), "{payload}", base64.StdEncoding.EncodeToString(payload(r.Size)))
		req, err := newRequest(r.Raw.Method, number.Replace(r.Raw.Path), r.Raw.Headers, []byte(number.Replace(r.Raw.Body)))
		if err != nil {
			return nil, err
		}
		reqs = append(reqs, req)
	}
	return reqs, nil
}

func readLines(file string) ([]string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var lines []string
	for l := range bytes.Lines(b) {
		if s := strings.TrimSpace(string(l)); s != "" {
			lines = append(lines, s)
		}
	}
	return lines, nil
}

// A keySink writes the ids of the keys that CreateKey makes to a file. The nil
// one writes nothing.
type keySink struct {
	mu sync.Mutex
	f  *os.File
	w  *bufio.Writer
}

func newKeySink(file string) (*keySink, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &keySink{f: f, w: bufio.NewWriter(f)}, nil
}

func (k *keySink) add(answer []byte) error {
	if k == nil {
		return nil
	}
	var out createKeyAnswer
	if err := json.Unmarshal(answer, &out); err != nil {
		return err
	}
	if out.KeyMetadata.KeyID == "" {
		return errors.New("CreateKey answered without a key id")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	_, err := fmt.Fprintln(k.w, out.KeyMetadata.KeyID)
	return err
}

func (k *keySink) close() error {
	if k == nil {
		return nil
	}
	return errors.Join(k.w.Flush(), k.f.Close())
}
