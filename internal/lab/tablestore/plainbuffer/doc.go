// Package plainbuffer reads and writes PlainBuffer, the encoding of rows in
// requests, answers and stream records of Tablestore.
//
// # What is exact
//
// The bytes. All integers are little-endian:
//
//	buffer := u32 0x75  row*
//	row    := 0x01 cell*  [0x02 cell+]  [0x08]  [ext]  0x09 rowcrc
//	          (0x01 primary key, 0x02 attribute columns, 0x08 delete marker)
//	cell   := 0x03  0x04 u32 length, name  [0x05 u32 length, value]
//	          [0x06 op]  [0x07 i64 milliseconds]  0x0A cellcrc
//	value  := 0x00 i64 | 0x01 f64 | 0x02 u8 | 0x03 u32 length, text |
//	          0x07 u32 length, bytes | 0x06 | 0x09 | 0x0A | 0x0B
//	op     := 0x01 | 0x03 | 0x04
//	ext    := 0x0B u32 24  0x0C u32 19  0x0D i32 epoch  0x0E i64 µs  0x0F i32 index
//
// The lengths are in bytes: before a value with its type, in an extension of
// all that follows in it.
//
// The grammar in the vendor's API reference (help page "PlainBuffer") differs
// in the extension and in the length before a value; this one is what the
// vendor's clients write and read: aliyun/aliyun-tablestore-go-sdk v1.9.3,
// tablestore/plain_buffer.go and tunnel/protocol/plain_buffer.go.
//
// The checksums are CRC-8 with the polynomial 0x07, which begins at 0 and
// neither reflects nor inverts. That of a cell covers its name, its value (type
// and payload, not the length before it), its timestamp and its op, in this
// order, although the op goes before the timestamp on the wire. That of a row
// covers the checksums of its cells and then 1 if it has the delete marker and
// 0 otherwise. Nothing covers tags, lengths and the extension.
//
// [Decode] verifies both checksums, as the service does of what it is sent and
// as the vendor's Java and Python clients do; the Go client does not.
//
// Unknown parts of an extension are skipped by their length, as the Java client
// does (aliyun/aliyun-tablestore-java-sdk, PlainBufferCodedInputStream.java);
// the Go client knows none and refuses them.
//
// A row begins with the tag of the key even if it has no key, because all
// writers of the vendor's do so. The Go and the Python client read such a row,
// and the Java client does where it reads the pre-image of a stream record;
// elsewhere that one wants a key.
//
// # What is a guess
//
// What the service says of faults for which its error code reference has no
// text, see [Error]; that it refuses what this package refuses beyond that, a
// boolean which is neither 0 nor 1 and an extension whose lengths do not fit;
// and what an extension of the service may hold but the sequence.
package plainbuffer
