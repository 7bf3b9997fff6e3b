package identity

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/tag"
)

var (
	entityPath = regexp.MustCompile(`^/([!-.0-~]+/)*$`)
	secretKey  = regexp.MustCompile(`^[!-~]{1,128}$`)
	tagText    = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)
)

// isName reports whether a name has 1 to longest letters, digits and _+=,.@-.
func isName(name string, longest int) bool {
	if name == "" || len(name) > longest {
		return false
	}
	for i := range len(name) {
		switch c := name[i]; {
		case 'A' <= c && c <= 'Z', '0' <= c && c <= '9', 'a' <= c && c <= 'z', strings.IndexByte("_+=,.@-", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// checkName returns what is wrong with the account and the name of something.
func checkName(noun, account, name string, longest int) error {
	if !arn.IsAccount(account) {
		return fmt.Errorf("%w: account id %q is not 12 digits", ErrInvalid, account)
	}
	if !isName(name, longest) {
		return fmt.Errorf("%w: %s name %q; a name has 1 to %d letters, digits and _+=,.@-", ErrInvalid, noun, name, longest)
	}
	return nil
}

func checkPath(path string) error {
	if len(path) > 512 || !entityPath.MatchString(path) {
		return fmt.Errorf("%w: path %q; a path begins and ends with / and has up to 512 printable ASCII characters", ErrInvalid, path)
	}
	return nil
}

// isAccessKeyID reports whether id has the form of an access key id: 16 to 128
// letters, digits and underscores. Source: accessKeyIdType of the IAM API.
func isAccessKeyID(id string) bool {
	if len(id) < 16 || len(id) > 128 {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'A' <= c && c <= 'Z', '0' <= c && c <= '9', 'a' <= c && c <= 'z', c == '_':
		default:
			return false
		}
	}
	return true
}

// CheckAccessKey returns what is wrong with an access key id and its secret, an
// ErrInvalid that does not show the secret.
func CheckAccessKey(id string, secretAccessKey secret.Bytes) error {
	if !isAccessKeyID(id) {
		// Not shown: it may be a secret that was put in the wrong place.
		return fmt.Errorf("%w: an access key id of %d bytes; an id has 16 to 128 letters, digits and _", ErrInvalid, len(id))
	}
	if strings.HasPrefix(id, "ASIA") {
		return fmt.Errorf("%w: access key id %s; ASIA is for temporary credentials, which come with a session token", ErrInvalid, id)
	}
	if !secretKey.Match(secretAccessKey.Reveal()) {
		return fmt.Errorf("%w: the secret of access key %s; a secret has 1 to 128 printable ASCII characters, usually 40", ErrInvalid, id)
	}
	return nil
}

// addTags returns tags with more, which replace those of the same key. Keys
// that differ only in case are one; the case of the newer one stays.
func addTags(tags, more []Tag) ([]Tag, error) {
	if err := CheckTags(more); err != nil {
		return nil, err
	}
	tags = slices.Clone(tags)
	for _, t := range more {
		if i, ok := find(tags, t.Name); ok {
			tags[i] = t
		} else {
			tags = append(tags, t)
		}
	}
	if len(tags) > MaxTags {
		return nil, &Error{ErrLimit, "The number of tags has reached the maximum limit."}
	}
	return tags, nil
}

func removeTags(tags []Tag, keys []string) []Tag {
	return slices.DeleteFunc(slices.Clone(tags), func(t Tag) bool {
		return slices.ContainsFunc(keys, func(key string) bool { return strings.EqualFold(key, t.Name) })
	})
}

// CheckTags returns what is wrong with tags that somebody gives: ErrInvalid, or
// ErrLimit for more than MaxTags.
func CheckTags(tags []Tag) error {
	if len(tags) > MaxTags {
		return &Error{ErrLimit, "The number of tags has reached the maximum limit."}
	}
	for i, t := range tags {
		switch key, value := utf8.RuneCountInString(t.Name), utf8.RuneCountInString(t.Value); {
		case key < 1 || key > 128 || value > 256 || !tagText.MatchString(t.Name) || !tagText.MatchString(t.Value):
			return &Error{ErrInvalid, "A tag has a key of 1 to 128 and a value of up to 256 letters, digits, spaces and _.:/=+-@"}
		case tag.Reserved(t.Name):
			return &Error{ErrInvalid, "Tag keys that begin with aws: cannot be used."}
		}
		if _, twice := find(tags[:i], t.Name); twice {
			return &Error{ErrInvalid, "Duplicate tag keys found. Please note that Tag keys are case insensitive."}
		}
	}
	return nil
}
