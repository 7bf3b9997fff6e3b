package archive

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxLogFile bounds what a log file may hold, in bytes before compression: a
// few bytes of gzip can stand for very many. CloudTrail's files and ours are
// much smaller.
const maxLogFile = 1 << 30

// newInflater returns a reader of what a gzip file holds.
func newInflater(r io.Reader) (io.Reader, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return &bounded{r: z, left: maxLogFile}, nil
}

// bounded is a reader that fails when more than left bytes come.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("%w: more than %d bytes", ErrFormat, int64(maxLogFile))
	}
	return n, err
}

// splitRecords reads {"Records":[{…},{…}]} and yields the objects. It returns
// nil when yield has returned false.
func splitRecords(r *bufio.Reader, yield func([]byte, error) bool) error {
	for _, token := range []string{"{", `"Records"`, ":", "["} {
		if err := expect(r, token); err != nil {
			return err
		}
	}
	var record []byte
	for first := true; ; first = false {
		c, err := next(r)
		switch {
		case err != nil:
			return err
		case c == ']':
			if err := expect(r, "}"); err != nil {
				return err
			}
			if c, err := next(r); !errors.Is(err, io.ErrUnexpectedEOF) {
				if err != nil {
					return err
				}
				return fmt.Errorf("%w: %q after the end", ErrFormat, c)
			}
			return nil
		case first:
		case c == ',':
			if c, err = next(r); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%w: %q between records", ErrFormat, c)
		}
		if c != '{' {
			return fmt.Errorf("%w: %q instead of a record", ErrFormat, c)
		}
		if record, err = object(r, append(record[:0], c)); err != nil {
			return err
		}
		if !json.Valid(record) {
			return fmt.Errorf("%w: a record is not JSON", ErrFormat)
		}
		if !yield(record, nil) {
			return nil
		}
	}
}

// object appends the rest of a JSON object whose first byte has been read.
func object(r *bufio.Reader, b []byte) ([]byte, error) {
	depth, quoted, escaped := 1, false, false
	for depth > 0 {
		c, err := r.ReadByte()
		if err != nil {
			return b, ended(err)
		}
		if len(b) >= maxRecord {
			return b, fmt.Errorf("%w: a record of more than %d bytes", ErrFormat, maxRecord)
		}
		b = append(b, c)
		switch {
		case escaped:
			escaped = false
		case quoted:
			quoted, escaped = c != '"', c == '\\'
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
	}
	return b, nil
}

// expect reads a token, after white space.
func expect(r *bufio.Reader, token string) error {
	for i := range len(token) {
		var c byte
		var err error
		if i == 0 {
			c, err = next(r)
		} else if c, err = r.ReadByte(); err != nil {
			err = ended(err)
		}
		if err != nil {
			return err
		}
		if c != token[i] {
			return fmt.Errorf("%w: %q where %s should be", ErrFormat, c, token)
		}
	}
	return nil
}

// next returns the next byte that is no white space.
func next(r *bufio.Reader) (byte, error) {
	for {
		c, err := r.ReadByte()
		if err != nil {
			return 0, ended(err)
		}
		if c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return c, nil
		}
	}
}

// ended says what an error of reading means for the file.
func ended(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: %w", ErrFormat, io.ErrUnexpectedEOF)
	case errors.Is(err, ErrFormat):
		return err
	}
	return fmt.Errorf("%w: %w", ErrFormat, err)
}
