package sigv4

// Error is a refused request: the code and the text that AWS's JSON services
// answer, with HTTP status 400. Errors are compared by identity where the text
// is fixed: [ErrMissingToken], [ErrUnrecognizedClient], [ErrExpiredToken] and
// [ErrSignature].
type Error struct {
	Code    string // such as "InvalidSignatureException"
	Message string // for the client; may quote the Authorization header
}

// Error returns the code and the text. The text may quote what the client sent
// as its Authorization header, so it is not for the log; the code is.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

const (
	codeIncomplete = "IncompleteSignatureException"
	codeInvalid    = "InvalidSignatureException"
)

// The refusals whose text never changes.
var (
	// ErrMissingToken is a request that is not signed, or not in a way that
	// SigV4 knows: no Authorization header, or one of another scheme.
	ErrMissingToken = &Error{"MissingAuthenticationTokenException", "Missing Authentication Token"}

	// ErrUnrecognizedClient is an access key that is unknown or inactive, or a
	// session token that is not of that access key. The text is the same for
	// all of them on purpose.
	ErrUnrecognizedClient = &Error{"UnrecognizedClientException", "The security token included in the request is invalid."}

	// ErrExpiredToken is a session whose time is over.
	ErrExpiredToken = &Error{"ExpiredTokenException", "The security token included in the request is expired"}

	// ErrSignature is a signature that is not of this request.
	ErrSignature = &Error{codeInvalid, "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."}
)

func incomplete(message string) error { return &Error{codeIncomplete, message} }

func invalid(message string) error { return &Error{codeInvalid, message} }
