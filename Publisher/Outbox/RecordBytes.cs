namespace Publisher.Outbox;

/// <summary>
/// One record as the outbox keeps it. Headers are encoded as fields 3 of broker.v1.Record, and times and priority as
/// its fields 4 to 6, so that a record on the wire is key, value and these bytes one after another. In the table both
/// stand in the column of headers, and what is read from there has all in <see cref="Headers"/>.
/// </summary>
internal readonly record struct RecordBytes(
    ReadOnlyMemory<byte> Key,
    ReadOnlyMemory<byte> Value,
    ReadOnlyMemory<byte> Headers,
    ReadOnlyMemory<byte> Numbers = default)
{
    // Tags of broker.v1: RecordBatch.records = 1, Record.key = 1, Record.value = 2, all length-delimited.
    private const byte RecordsTag = 0x0A;
    private const byte KeyTag = 0x0A;
    private const byte ValueTag = 0x12;

    /// <summary>Bytes of the record as one field of an encoded RecordBatch.</summary>
    public int FieldBytes => 1 + VarintBytes(BodyBytes) + BodyBytes;

    /// <summary>Both as they stand in the table; null when there are none.</summary>
    public ReadOnlyMemory<byte>? Rest => (Headers.IsEmpty, Numbers.IsEmpty) switch
    {
        (true, true) => (ReadOnlyMemory<byte>?)null,
        (false, true) => Headers,
        _ => (byte[])[.. Headers.Span, .. Numbers.Span],
    };

    private int BodyBytes =>
        OptionalBytes(Key.Length) + OptionalBytes(Value.Length) + Headers.Length + Numbers.Length;

    /// <summary>
    /// Encodes broker.v1.RecordBatch. Two records, key "k" value "v" and value "w":
    /// 0A 06 0A 01 6B 12 01 76 | 0A 03 12 01 77.
    /// </summary>
    public static byte[] EncodeBatch(IReadOnlyList<RecordBytes> records)
    {
        var size = 0;
        for (var i = 0; i < records.Count; i++)
        {
            size += records[i].FieldBytes;
        }

        var batch = new byte[size];
        var rest = batch.AsSpan();
        for (var i = 0; i < records.Count; i++)
        {
            var record = records[i];
            WriteLength(ref rest, RecordsTag, record.BodyBytes);
            WriteField(ref rest, KeyTag, record.Key.Span);
            WriteField(ref rest, ValueTag, record.Value.Span);
            record.Headers.Span.CopyTo(rest);
            rest = rest[record.Headers.Length..];
            record.Numbers.Span.CopyTo(rest);
            rest = rest[record.Numbers.Length..];
        }

        return batch;
    }

    // An empty field is not written, as proto3 does.
    private static int OptionalBytes(int length) => length == 0 ? 0 : 1 + VarintBytes(length) + length;

    private static void WriteField(ref Span<byte> rest, byte tag, ReadOnlySpan<byte> bytes)
    {
        if (bytes.IsEmpty)
        {
            return;
        }

        WriteLength(ref rest, tag, bytes.Length);
        bytes.CopyTo(rest);
        rest = rest[bytes.Length..];
    }

    private static void WriteLength(ref Span<byte> rest, byte tag, int length)
    {
        rest[0] = tag;
        var at = 1;
        var value = (uint)length;
        while (value >= 0x80)
        {
            rest[at++] = (byte)(value | 0x80);
            value >>= 7;
        }

        rest[at++] = (byte)value;
        rest = rest[at..];
    }

    private static int VarintBytes(int value)
    {
        var bytes = 1;
        for (var rest = (uint)value; rest >= 0x80; rest >>= 7)
        {
            bytes++;
        }

        return bytes;
    }
}
