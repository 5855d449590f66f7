// Package config turns pointsman.yaml and vantage.yaml into the settings of
// every room, or into a list of all the mistakes in the file.
//
// A file passes four stations. The text is refused when it is too large, too
// deep, or uses a feature of YAML that surprises (anchors, merge keys, tags,
// several documents). The library's parser then builds the tree; decoding is
// strict and ours, because a decoder that stops at the first mistake makes
// people run it ten times: unknown and doubled keys, wrong types and missing
// keys are all noted and decoding goes on. Compiling resolves presets,
// defaults and references and notes every value that cannot stand beside the
// others. Only when nothing was noted does a [Config] come out.
//
// Every note is a [Fault]: file, line, column, one sentence, the line of the
// file with a caret, and a hint. The excerpt is one line and not the
// neighbourhood that the YAML library prints, so that a secret which was
// typed into the wrong place is never shown; what looks like one on that very
// line is masked.
//
// A file holds paths of secrets, never the secrets; [ReadSecretFile] reads
// one and insists on mode and owner. Relative paths start at the folder of
// the file that names them.
package config
