using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Topics;
using Google.Protobuf;
using Xunit;
using Record = Broker.Protocol.V1.Record;

namespace Broker.Tests.Unit.Topics;

public sealed class RecordBatchScannerTests
{
    [Fact]
    public void The_documented_bytes_are_one_record()
    {
        var batch = Convert.FromHexString("0A0E" + "0A016B" + "12026869" + "1A050A01681200");
        Assert.Equal(new BatchScan(1, RefusalCode.None, null), RecordBatchScanner.Scan(batch));
        var parsed = Assert.Single(RecordBatch.Parser.ParseFrom(batch).Records);
        Assert.Equal(
            ("k", "hi", "h"), (parsed.Key.ToStringUtf8(), parsed.Value.ToStringUtf8(), parsed.Headers[0].Name));
    }

    [Fact]
    public void Whatever_protobuf_encodes_is_accepted_with_its_count()
    {
        var random = new Random(1);
        for (var round = 0; round < 500; round++)
        {
            var batch = Draw(random);
            Assert.Equal(batch.Records.Count, Accept(batch.ToByteArray()));
        }
    }

    [Fact]
    public void What_is_accepted_protobuf_parses_to_the_same_count()
    {
        var random = new Random(2);
        var accepted = 0;
        for (var round = 0; round < 20_000; round++)
        {
            var bytes = Draw(random).ToByteArray();
            for (var flips = random.Next(1, 4); flips > 0; flips--)
            {
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            }

            var length = random.Next(2) == 0 ? bytes.Length : random.Next(bytes.Length);
            var scan = RecordBatchScanner.Scan(bytes.AsSpan(0, length));
            if (scan.IsValid)
            {
                accepted++;
                Assert.Equal(RecordBatch.Parser.ParseFrom(bytes, 0, length).Records.Count, scan.Count);
            }
        }

        Assert.InRange(accepted, 1_000, 19_000);
    }

    [Fact]
    public void What_protobuf_refuses_is_refused()
    {
        var random = new Random(3);
        var refused = 0;
        for (var round = 0; round < 20_000; round++)
        {
            var bytes = Draw(random).ToByteArray();
            bytes[random.Next(bytes.Length)] ^= (byte)(1 << random.Next(8));
            try
            {
                RecordBatch.Parser.ParseFrom(bytes);
            }
            catch (InvalidProtocolBufferException)
            {
                refused++;
                Assert.False(RecordBatchScanner.Scan(bytes).IsValid, Convert.ToHexString(bytes));
            }
        }

        Assert.True(refused > 1_000, $"only {refused} were refused by protobuf");
    }

    [Theory]
    [InlineData("")]
    [InlineData("1000")]
    [InlineData("0800")]
    public void A_batch_without_records_is_refused(string hex)
    {
        var scan = RecordBatchScanner.Scan(Convert.FromHexString(hex));
        Assert.Equal((0, RefusalCode.InvalidArgument), (scan.Count, scan.Code));
        Assert.Contains("no records", scan.Reason, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("0A", "length")]
    [InlineData("0A05", "length")]
    [InlineData("0A020A05", "length")]
    [InlineData("0A00FF", "tag")]
    [InlineData("0A0002", "tag")]
    [InlineData("0A000B0C", "unknown field of the batch")]
    [InlineData("0A000E", "unknown field of the batch")]
    [InlineData("0A0010FFFFFFFFFFFFFFFFFFFF01", "unknown field of the batch")]
    [InlineData("0A0011000000", "unknown field of the batch")]
    [InlineData("0A0123", "unknown field of the record")]
    [InlineData("0A041A020A01", "header's length")]
    [InlineData("0A051A030A01FF", "not UTF-8")]
    [InlineData("0AFFFFFFFF7F", "length")]
    [InlineData("0A808080808001", "length")]
    public void Malformed_bytes_are_refused_with_the_place(string hex, string place)
    {
        var bytes = Convert.FromHexString(hex);
        var scan = RecordBatchScanner.Scan(bytes);
        Assert.Equal(RefusalCode.InvalidArgument, scan.Code);
        Assert.Contains(place, scan.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Unknown_fields_and_odd_but_legal_encodings_pass()
    {
        // An unknown varint, fixed64, bytes and fixed32 around a record whose length takes five bytes.
        Assert.Equal(1, Accept(Convert.FromHexString(
            "1096011908000000000000002203616263" + "2D01000000" + "0A8080808000")));

        // The known fields with another wire type are unknown to protobuf.
        Assert.Equal(1, Accept(Convert.FromHexString("0805" + "0A04" + "0805" + "1806")));
    }

    [Fact]
    public void Limits_are_checked_per_record_and_named()
    {
        Refuse(
            new Record { Value = Bytes(Limits.RecordBytes + 1) },
            "Record 1 has a value of 1,048,577 bytes; the limit is 1,048,576");
        Refuse(new Record { Key = Bytes(Limits.KeyBytes + 1) }, "Record 1 has a key of 8,193 bytes");
        Refuse(
            new Record { Headers = { new Header { Name = "n", Value = Bytes(Limits.HeaderBytes) } } },
            "Record 1 has a header of 8,193 bytes");
        var many = new Record();
        many.Headers.AddRange(Enumerable.Range(0, Limits.HeadersPerRecord + 1).Select(_ => new Header { Name = "n" }));
        Refuse(many, "Record 1 has more than 64 headers");

        many.Headers.RemoveAt(0);
        many.Headers[0].Value = Bytes(Limits.HeaderBytes - 1);
        many.Key = Bytes(Limits.KeyBytes);
        many.Value = Bytes(Limits.RecordBytes);
        Assert.Equal(1, Accept(new RecordBatch { Records = { many } }.ToByteArray()));
    }

    [Fact]
    public void A_time_of_delivery_is_told_and_a_negative_one_is_refused()
    {
        foreach (var dueUnixMs in new[] { 0L, 1, 1L << 35, long.MaxValue })
        {
            var batch = new RecordBatch { Records = { new Record(), new Record { DeliverAtUnixMs = dueUnixMs } } };
            Assert.Equal(
                new BatchScan(2, RefusalCode.None, null, MayBeDelayed: dueUnixMs > 0),
                RecordBatchScanner.Scan(batch.ToByteArray()));
        }

        foreach (var dueUnixMs in new[] { -1, long.MinValue })
        {
            var batch = new RecordBatch { Records = { new Record(), new Record { DeliverAtUnixMs = dueUnixMs } } };
            var scan = RecordBatchScanner.Scan(batch.ToByteArray());
            Assert.Equal((0, RefusalCode.InvalidArgument), (scan.Count, scan.Code));
            Assert.Contains("Record 1 (from 0) has deliver_at_unix_ms", scan.Reason, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("0A022000")]
    [InlineData("0A04A0800000")]
    [InlineData("0A03208000")]
    [InlineData("0A0B2080808080808080808002")]
    [InlineData("0A022200")]
    [InlineData("0A052501000000")]
    public void A_time_of_zero_or_of_another_wire_type_is_no_time(string hex)
    {
        var bytes = Convert.FromHexString(hex);
        Assert.Equal(0UL, Assert.Single(RecordBatch.Parser.ParseFrom(bytes).Records).TtlMs);
        Assert.Equal(1, Accept(bytes));
    }

    [Theory]
    [InlineData("0A0120")]
    [InlineData("0A022080")]
    [InlineData("0A0C208080808080808080808000")]
    public void A_number_that_ends_nowhere_is_malformed(string hex)
    {
        var scan = RecordBatchScanner.Scan(Convert.FromHexString(hex));
        Assert.Equal(RefusalCode.InvalidArgument, scan.Code);
        Assert.Contains("malformed at a number", scan.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void A_priority_is_read_as_any_parser_does_and_is_at_most_nine()
    {
        foreach (var priority in new uint[] { 0, 1, 9 })
        {
            var record = new Record { Key = ByteString.CopyFromUtf8("k"), Priority = priority }.ToByteArray();
            Assert.Equal("k"u8, RecordBatchScanner.KeyOf(record, out _, out var found));
            Assert.Equal(priority, found);
        }

        foreach (var priority in new uint[] { 10, uint.MaxValue })
        {
            var scan = RecordBatchScanner.Scan(
                new RecordBatch { Records = { new Record(), new Record { Priority = priority } } }.ToByteArray());
            Assert.Equal(RefusalCode.InvalidArgument, scan.Code);
            Assert.Equal($"Record 1 (from 0) has priority {priority}; it is 0 to 9.", scan.Reason);
        }
    }

    [Fact]
    public void A_batch_above_its_limit_is_refused()
    {
        var batch = new RecordBatch();
        batch.Records.AddRange(Enumerable.Range(0, 5).Select(_ => new Record { Value = Bytes(Limits.RecordBytes) }));
        var scan = RecordBatchScanner.Scan(batch.ToByteArray());
        Assert.Equal(RefusalCode.ResourceExhausted, scan.Code);
        Assert.Contains("The batch has", scan.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Scanning_a_good_batch_allocates_nothing()
    {
        var bytes = Draw(new Random(4)).ToByteArray();
        Accept(bytes);
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1_000; i++)
        {
            RecordBatchScanner.Scan(bytes);
        }

        Assert.True(GC.GetAllocatedBytesForCurrentThread() - before < 1_000, "scanning allocates per batch");
    }

    private static int Accept(byte[] bytes)
    {
        var scan = RecordBatchScanner.Scan(bytes);
        Assert.True(scan.IsValid, scan.Reason);
        return scan.Count;
    }

    private static void Refuse(Record second, string reason)
    {
        var scan = RecordBatchScanner.Scan(new RecordBatch { Records = { new Record(), second } }.ToByteArray());
        Assert.Equal(RefusalCode.ResourceExhausted, scan.Code);
        Assert.Contains(reason, scan.Reason, StringComparison.Ordinal);
    }

    private static ByteString Bytes(int length) => ByteString.CopyFrom(new byte[length]);

    private static RecordBatch Draw(Random random)
    {
        var batch = new RecordBatch();
        for (var i = random.Next(1, 6); i > 0; i--)
        {
            var value = Bytes(random.Next(2) == 0 ? 0 : random.Next(300));
            var record = new Record { Key = Bytes(random.Next(4)), Value = value };
            for (var headers = random.Next(3); headers > 0; headers--)
            {
                record.Headers.Add(new Header { Name = "é漢x"[..random.Next(4)], Value = Bytes(random.Next(5)) });
            }

            batch.Records.Add(record);
        }

        return batch;
    }
}
