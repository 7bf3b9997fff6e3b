//go:build !race

package iam_test

// agreeWorlds is in how many installations calls are simulated.
const agreeWorlds = 60
