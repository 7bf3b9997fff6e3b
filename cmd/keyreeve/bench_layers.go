package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/loadgen"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/sigv4"
)

// This file makes the node that `bench compare --policies layers` measures:
// ten statements in each of six layers stand around every call. They are a
// service and a resource control policy, the key policy, and the policy, the
// boundary and the session policy of a role.
const (
	layersAccount    = "111122223333"
	layersManagement = "999988887777"
	layersRole       = "arn:aws:iam::" + layersAccount + ":role/bench"
	layersAccessKey  = "AKIAKEYREEVEBENCH000"
)

// tenStatements returns a document with nine statements made of format, whose
// one verb is a number, and one more.
func tenStatements(format, last string) string {
	var b strings.Builder
	b.WriteString(`{"Version":"2012-10-17","Statement":[`)
	for i := range 9 {
		fmt.Fprintf(&b, format, i)
		b.WriteByte(',')
	}
	b.WriteString(last + "]}")
	return b.String()
}

// layers are the documents. In each the last statement is the one that counts,
// and the others take a look at the call.
type layers struct{ service, resource, key, identity, boundary, session string }

func newLayers() layers {
	const (
		everything = `{"Effect":"Allow","Action":"*","Resource":"*"}`
		deny       = `{"Effect":"Deny","Action":["kms:ScheduleKeyDeletion","kms:*"],"Resource":"*","Condition":{"StringNotLike":{"aws:PrincipalArn":["arn:aws:iam::*:role/bench","arn:aws:iam::*:user/u%d"]}}}`
		byTeam     = `{"Effect":"Allow","Action":["kms:GenerateDataKey","kms:Encrypt","kms:Decrypt"],"Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/team":"team-%d"}}}`
		byKey      = `{"Effect":"Allow","Action":["kms:Describe*","kms:*Encrypt","kms:Decrypt"],"Resource":"arn:aws:kms:*:444455556666:key/%d*"}`
		use        = `{"Effect":"Allow","Action":"kms:*","Resource":"*"}`
	)
	anyone := func(statement string) string {
		return strings.Replace(statement, `"Action"`, `"Principal":"*","Action"`, 1)
	}
	account := func(statement string) string {
		return strings.Replace(statement, `"Action"`, `"Principal":{"AWS":"arn:aws:iam::`+layersAccount+`:root"},"Action"`, 1)
	}
	return layers{
		service:  tenStatements(deny, everything),
		resource: tenStatements(anyone(deny), anyone(`{"Effect":"Deny","Action":"kms:*","Resource":"*","Condition":{"StringNotEqualsIfExists":{"aws:PrincipalOrgID":"o-keyreevebench"}}}`)),
		key:      tenStatements(account(byTeam), account(use)),
		identity: tenStatements(byKey, use),
		boundary: tenStatements(byKey, use),
		session:  tenStatements(byTeam, use),
	}
}

// writeSeed writes the seed file of the node into dir and returns its path, and
// the secret of the access key in it.
func (l *layers) writeSeed(dir string) (path, key string, err error) {
	key = rand.Text() + rand.Text()[:14]
	text := fmt.Sprintf(`accounts:
  - {id: %[1]q, management: true}
  - {id: %[2]q}
organizations:
  - id: o-keyreevebench
    management: %[1]q
    root: r-benc
    policies:
      - {id: p-11111111, name: service, type: SERVICE_CONTROL_POLICY, document: '%[3]s'}
      - {id: p-22222222, name: resource, type: RESOURCE_CONTROL_POLICY, document: '%[4]s'}
    accounts:
      - {id: %[2]q, attached: [service, resource], full_access: false}
policies:
  - {account: %[2]q, name: boundary, document: '%[5]s'}
users:
  - account: %[2]q
    name: bench
    inline: {assume: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "sts:AssumeRole", Resource: "*"}]}}
    access_keys: [{id: %[6]s, secret: %[7]s}]
roles:
  - account: %[2]q
    name: bench
    boundary: boundary
    inline: {use: '%[8]s'}
    tags: {team: blue}
    max_session: 12h
    trust: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "sts:AssumeRole", Principal: {AWS: "arn:aws:iam::%[2]s:root"}}]}
`, layersManagement, layersAccount, l.service, l.resource, l.boundary, layersAccessKey, key, l.identity)
	path = filepath.Join(dir, "seed.yaml")
	return path, key, os.WriteFile(path, []byte(text), 0o600)
}

// assume makes t sign as a session of the role.
func (l *layers) assume(ctx context.Context, t *loadgen.Target, key string) error {
	body := url.Values{
		"Action": {"AssumeRole"}, "Version": {"2011-06-15"}, "RoleArn": {layersRole}, "RoleSessionName": {"bench"},
		"DurationSeconds": {"43200"}, "Policy": {l.session},
	}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.URL+"/", strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	creds := sigv4.Credentials{AccessKeyID: layersAccessKey, Key: sigv4.NewKey(secret.New([]byte(key)))}
	creds.Sign(req, []byte(body), t.Region, "sts", time.Now())
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(t.CA)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("AssumeRole: %s\n%s", res.Status, bytes.TrimSpace(text))
	}
	var answer struct {
		AccessKeyID     string `xml:"AssumeRoleResult>Credentials>AccessKeyId"`
		SecretAccessKey string `xml:"AssumeRoleResult>Credentials>SecretAccessKey"`
		SessionToken    string `xml:"AssumeRoleResult>Credentials>SessionToken"`
	}
	if err := xml.Unmarshal(text, &answer); err != nil {
		return err
	}
	if answer.SessionToken == "" {
		return errors.New("AssumeRole: no credentials in the answer")
	}
	t.Credentials = sigv4.Credentials{
		AccessKeyID: answer.AccessKeyID, Key: sigv4.NewKey(secret.New([]byte(answer.SecretAccessKey))), Token: answer.SessionToken,
	}
	t.KeyPolicy = l.key
	return nil
}
