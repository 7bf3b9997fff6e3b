package trail

import "github.com/aws/aws-sdk-go-v2/aws"

// What is parsed from files and records, for fuzzing.
var ParseCredentials = func(text []byte) aws.Credentials { return parseCredentials(text) }

// DecodeAll decodes a text as each kind of record.
func DecodeAll(text []byte) (good int) {
	if _, err := decode[Trail](text); err == nil {
		good++
	}
	if _, err := decode[[]indexed](text); err == nil {
		good++
	}
	if _, err := decode[progress](text); err == nil {
		good++
	}
	if c, err := decode[chain](text); err == nil {
		good++
		c.until(c.Closing)
	}
	return good
}

// AppendMessage makes a message of syslog.
var AppendMessage = appendMessage

// Cut cuts a text.
var Cut = cut
