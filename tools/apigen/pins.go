//go:build pins

package main

// The generator reads the source and the data of these modules and calls
// nothing of them; importing one package of each keeps them in go.mod.
import (
	_ "github.com/aws/aws-sdk-go-v2/service/kms/schemas"
	_ "github.com/aws/aws-sdk-go/aws/awserr"
)
