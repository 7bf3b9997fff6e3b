package kmsapi

// A Message is the input or output of an operation.
type Message interface {
	// DecodeJSON reads the message from an awsJson1_1 body; the error is a
	// SerializationException. It keeps nothing of b.
	DecodeJSON(b []byte) error
	// AppendJSON appends the message as an awsJson1_1 body.
	AppendJSON(b []byte) []byte
	// AppendAudit appends what CloudTrail shows of the message.
	AppendAudit(b []byte) []byte
}

// An Input is an operation's input.
type Input interface {
	Message
	// Validate checks the input against the API's constraints; the error is a
	// ValidationException.
	Validate() error
}

// An Output is an operation's output.
type Output = Message

// OperationMessages makes the messages of one operation, for code that treats
// all operations alike.
type OperationMessages struct {
	Name   string
	Input  func() Input
	Output func() Output
}
