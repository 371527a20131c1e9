// Package config is config.yaml: its schema, defaults, strict decoding and
// validation. Flags are merged into it by the CLI; deeper code sees a Config and
// never a flag. It imports nothing of Boxyard but fault.
package config
