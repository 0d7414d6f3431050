using Broker.Protocol.V1;
using Broker.Topics;
using Google.Protobuf;
using Xunit;
using Record = Broker.Protocol.V1.Record;

namespace Broker.Tests.Unit.Topics;

public sealed class TimesToLiveTests
{
    private const long Then = 1_000_000;

    [Fact]
    public void A_batch_falls_into_runs_of_records_whose_time_is_over_and_of_others()
    {
        var random = new Random(1);
        for (var round = 0; round < 500; round++)
        {
            var batch = new RecordBatch();
            for (var i = random.Next(1, 9); i > 0; i--)
            {
                var timeMs = (ulong)(random.Next(3) == 0 ? random.Next(4) : 0);
                var value = ByteString.CopyFrom(new byte[random.Next(200)]);
                batch.Records.Add(new Record { Value = value, TtlMs = timeMs });
            }

            var ageMs = random.Next(-1, 4);
            var bytes = batch.ToByteArray();
            var records = new List<(Record Record, bool IsOver)>();
            for (var rest = bytes.AsSpan(); !rest.IsEmpty;)
            {
                var run = TimesToLive.FirstRun(rest, Then, Then + ageMs);
                var part = RecordBatch.Parser.ParseFrom(rest[..run.Bytes]).Records;
                Assert.Equal(part.Count, run.Count);
                Assert.True(records.Count == 0 || records[^1].IsOver != run.IsOver, "runs are as long as they can be");
                records.AddRange(part.Select(each => (each, run.IsOver)));
                rest = rest[run.Bytes..];
            }

            Assert.Equal(
                batch.Records.Select(each => (each, each.TtlMs > 0 && (long)each.TtlMs <= ageMs)), records);
        }
    }

    [Fact]
    public void A_record_that_was_not_due_when_it_was_stored_is_delayed_and_its_time_to_live_counts_from_then()
    {
        var batch = new RecordBatch();
        batch.Records.AddRange(new[] { 0, Then, Then + 1, long.MaxValue, 1 }.Select(static due =>
            new Record { DeliverAtUnixMs = due, TtlMs = 10 }));
        ReadOnlySpan<byte> rest = batch.ToByteArray();
        var runs = new List<(int, bool, bool)>();
        while (!rest.IsEmpty)
        {
            var run = TimesToLive.FirstRun(rest, Then, Then + 10);
            runs.Add((run.Count, run.IsOver, run.IsDelayed));
            rest = rest[run.Bytes..];
        }

        Assert.Equal([(2, true, false), (2, false, true), (1, true, false)], runs);
        foreach (var (due, isOver) in new[] { (Then + 1, true), (Then + 2, false), (long.MaxValue, false) })
        {
            var alone = new RecordBatch { Records = { new Record { DeliverAtUnixMs = due, TtlMs = 10 } } };
            Assert.Equal(isOver, TimesToLive.IsOverOfDelayed(alone.ToByteArray(), Then + 11));
        }
    }

    [Theory]
    [InlineData(1, 0, false)]
    [InlineData(1, 1, true)]
    [InlineData(86_400_000, 86_399_999, false)]
    [InlineData(86_400_000, 86_400_000, true)]
    [InlineData(1UL << 32, (1L << 32) - 1, false)]
    [InlineData(1UL << 32, 1L << 32, true)]
    [InlineData(long.MaxValue, long.MaxValue - Then, false)]
    [InlineData(ulong.MaxValue, long.MaxValue - Then, false)]
    public void A_time_of_any_length_is_over_at_its_end_and_not_before(ulong timeMs, long ageMs, bool isOver)
    {
        var bytes = new RecordBatch { Records = { new Record { TtlMs = timeMs } } }.ToByteArray();
        Assert.True(RecordBatchScanner.Scan(bytes).IsValid);
        Assert.Equal(new AliveRun(1, bytes.Length, isOver), TimesToLive.FirstRun(bytes, Then, Then + ageMs));
    }

    [Fact]
    public void A_clock_that_was_set_back_ends_no_time()
    {
        var bytes = new RecordBatch { Records = { new Record { TtlMs = 1 } } }.ToByteArray();
        Assert.False(TimesToLive.FirstRun(bytes, Then, 0).IsOver);
    }

    [Theory]
    [InlineData("0A022000", false)]
    [InlineData("0A042202AAAA", false)]
    [InlineData("0A0420052000", false)]
    [InlineData("0A0420002005", true)]
    [InlineData("0A0B2080808080808080808002", false)]
    public void Zero_another_wire_type_and_a_later_value_count_as_for_every_parser(string hex, bool isOver)
    {
        var bytes = Convert.FromHexString(hex);
        Assert.True(RecordBatchScanner.Scan(bytes).IsValid);
        Assert.Equal(isOver, TimesToLive.FirstRun(bytes, Then, Then + 1_000).IsOver);
        Assert.Equal(isOver, RecordBatch.Parser.ParseFrom(bytes).Records[0].TtlMs is > 0 and <= 1_000);
    }
}
