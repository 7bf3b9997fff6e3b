// Package seed makes what a seed file names and is not there.
//
// A seed file is YAML: accounts and their organizations, users with access keys,
// groups, roles and policies, keys with fixed ids and material, and aliases;
// docs/seed.md describes it. [Read] or [Parse] reads
// one and checks all that can be said of the file alone; [File.Apply] checks
// the rest, and only then makes what is missing. What exists is never changed,
// and nothing is made a second time, so that a node may be started with the
// same file again and again.
package seed

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/secret"
)

// TagKey and TagValue are the tag that every key of a seed file carries.
const (
	TagKey   = "keyreeve:seeded"
	TagValue = "true"
)

// maxFile is the largest seed file, and the most that references in it may
// grow it to, in bytes.
const maxFile = 4 << 20

// File is a seed file that was read and is right in itself.
type File struct {
	accounts      []account
	organizations []organization
	policies      []managed
	groups        []group
	users         []user
	roles         []role
	keys          []key
	aliases       []alias
}

type account struct {
	line       int
	id         string
	name       string
	management bool
	regions    []string    // that it enables
	accessKeys []accessKey // of the root user
}

// document is a policy document, and where it stands.
type document struct {
	line int
	text string
}

// organization is an organization with all that is in it.
type organization struct {
	line     int
	id       string
	master   string
	root     string
	policies []control
	at       target // the root
	units    []unit
	accounts []member
}

// control is a service or resource control policy.
type control struct {
	line        int
	id          string
	name        string
	description string
	kind        identity.OrganizationPolicyType
	document    document
}

type unit struct {
	line   int
	id     string
	name   string
	parent string // id of the root or of a unit
	at     target
}

// member is an account in its organization.
type member struct {
	line   int
	id     string
	parent string // id of the root or of a unit
	at     target
}

// target is what policies of an organization are attached to.
type target struct {
	attached []string // names of policies
	limited  bool     // without FullAWSAccess
}

// managed is a customer managed policy.
type managed struct {
	line        int
	account     string
	name        string
	path        string
	description string
	tags        []identity.Tag
	document    document
}

// entity is what users, groups and roles have in common.
type entity struct {
	line     int
	account  string
	name     string
	path     string
	policies []string // ARNs
	inline   []inline // by name
	boundary string   // ARN, or empty
	tags     []identity.Tag
}

type inline struct {
	name     string
	document document
}

type group struct{ entity }

type user struct {
	entity
	groups     []string
	accessKeys []accessKey
}

type role struct {
	entity
	description string
	maxSession  time.Duration
	trust       document
}

type accessKey struct {
	line   int
	id     string
	secret secret.Bytes
}

type key struct {
	line        int
	account     string
	region      string
	id          string
	spec        keyring.Spec
	usage       keyring.Usage
	description string
	disabled    bool
	material    secret.Bytes
	tags        []keyring.Tag
	policy      document // none: the default key policy
}

type alias struct {
	line    int
	account string
	region  string
	name    string // with alias/ before it
	key     string // the id of the key
}

// Read reads the seed file at path, which nobody but its owner may read, and
// takes ${NAME} in it from the environment.
func Read(path string) (*File, error) {
	text, err := read(path)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	f, err := Parse(text, os.LookupEnv)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// What is checked is the open file, whatever links led to it.
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	if err := checkOwner(path, info); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return text, nil
}

// ManagementAccount returns the id of the account that the file says is the
// management account, or "".
func (f *File) ManagementAccount() string {
	for _, a := range f.accounts {
		if a.management {
			return a.id
		}
	}
	return ""
}

// CheckRegions returns what in the file is in a Region that is not one of
// these.
func (f *File) CheckRegions(regions []string) error {
	var errs []error
	check := func(line int, region string) {
		if !slices.Contains(regions, region) {
			errs = append(errs, at(line, "Region %s is not enabled", region))
		}
	}
	for _, a := range f.accounts {
		for _, region := range a.regions {
			check(a.line, region)
		}
	}
	for _, k := range f.keys {
		check(k.line, k.region)
	}
	for _, a := range f.aliases {
		check(a.line, a.region)
	}
	return errors.Join(errs...)
}

// at is an error about a line of the file.
func at(line int, format string, args ...any) error {
	return fmt.Errorf("line %d: %w", line, fmt.Errorf(format, args...))
}
