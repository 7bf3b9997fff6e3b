package operator

// ReadCommand is for the fuzz target.
var ReadCommand = readCommand
