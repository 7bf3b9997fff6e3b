//go:build race

package iam_test

// agreeWorlds is fewer where every step costs ten.
const agreeWorlds = 6
