package trail

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/keyreeve/keyreeve/internal/seal"
)

// maxCredentials bounds a file of credentials, in bytes.
const maxCredentials = 16 << 10

// errCredentials is a file of credentials that can't be used.
var errCredentials = errors.New("reading credentials")

// credentialsFile is the access key of a bucket, from a file that is read again
// when it changes. It is an [aws.CredentialsProvider].
type credentialsFile struct {
	path string

	mu   sync.Mutex
	read aws.Credentials // guarded by mu, as what follows
	at   time.Time       // when the file was changed
	size int64
}

// Retrieve returns the access key. Its errors name the file, and nothing that
// stands in it.
func (c *credentialsFile) Retrieve(context.Context) (aws.Credentials, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	info, err := os.Lstat(c.path)
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("%w: %w", errCredentials, err)
	}
	if c.read.HasKeys() && info.ModTime().Equal(c.at) && info.Size() == c.size {
		return c.read, nil
	}
	text, err := seal.ReadPrivate(c.path, maxCredentials)
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("%w: %w", errCredentials, err)
	}
	defer text.Wipe()
	found := parseCredentials(text.Reveal())
	if !found.HasKeys() {
		return aws.Credentials{}, fmt.Errorf("%w: %s has no profile default with aws_access_key_id and aws_secret_access_key", errCredentials, c.path)
	}
	c.read, c.at, c.size = found, info.ModTime(), info.Size()
	return found, nil
}

// parseCredentials reads the profile "default" of a file as AWS's clients have
// them: lines of "[profile]" and "name = value"; what comes before the first
// profile counts, too. Source: "Configuration and credential file settings" in
// the AWS CLI User Guide.
func parseCredentials(text []byte) aws.Credentials {
	var c aws.Credentials
	counts := true
	in := bufio.NewScanner(bytes.NewReader(text))
	for in.Scan() {
		line := strings.TrimSpace(in.Text())
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if line[0] == '[' {
			counts = strings.TrimSpace(strings.Trim(line, "[]")) == "default"
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !counts || !ok {
			continue
		}
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(name) {
		case "aws_access_key_id":
			c.AccessKeyID = value
		case "aws_secret_access_key":
			c.SecretAccessKey = value
		case "aws_session_token":
			c.SessionToken = value
		}
	}
	c.Source = "file"
	return c
}
