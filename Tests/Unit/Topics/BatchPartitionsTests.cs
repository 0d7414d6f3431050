using System.Text;
using Broker.Client;
using Broker.Topics;
using Xunit;

namespace Broker.Tests.Unit.Topics;

public sealed class BatchPartitionsTests
{
    // Computed by an independent implementation; clients in other languages compute the same: never edit these.
    [Theory]
    [InlineData("orders", 12, 1)]
    [InlineData("orders", 1_000, 617)]
    [InlineData("a", 12, 11)]
    [InlineData("a", 1_000, 315)]
    [InlineData("42", 12, 0)]
    [InlineData("漢字", 12, 6)]
    [InlineData("漢字", 1_000, 126)]
    public void A_key_has_its_partition_for_ever(string key, int partitions, int expected) =>
        Assert.Equal(expected, BatchPartitions.OfKey(Encoding.UTF8.GetBytes(key), partitions));

    [Theory]
    [InlineData(12, 9)]
    [InlineData(1_000, 501)]
    public void A_producer_has_its_partition_for_ever(int partitions, int expected) =>
        Assert.Equal(expected, BatchPartitions.OfProducer(7, partitions));

    [Fact]
    public void The_keys_of_a_batch_say_where_it_belongs()
    {
        Assert.Equal(BatchPartitions.NoKey, BatchPartitions.Find(Batch("", ""), 12));
        Assert.Equal(1, BatchPartitions.Find(Batch("", "orders", "", "orders"), 12));
        Assert.Equal(BatchPartitions.Several, BatchPartitions.Find(Batch("orders", "", "a"), 12));
        Assert.Equal(0, BatchPartitions.Find(Batch("orders", "a"), 1));
    }

    [Fact]
    public void A_split_batch_has_every_record_once_and_in_its_order()
    {
        var random = new Random(1);
        for (var round = 0; round < 100; round++)
        {
            var keys = Enumerable.Range(0, random.Next(1, 60))
                .Select(_ => random.Next(4) == 0 ? "" : $"k{random.Next(30)}")
                .ToArray();
            var partitions = random.Next(2, 20);
            var batch = Batch(keys);
            var parts = BatchPartitions.Split(batch, partitions);
            Assert.Equal(parts.Select(part => part.Partition).Order().Distinct(), parts.Select(part => part.Partition));
            Assert.Equal(
                Enumerable.Range(0, keys.Length).Select(number => (uint)number),
                parts.SelectMany(part => part.Records).Order());
            var first = keys.FirstOrDefault(key => key.Length > 0) ?? "";
            foreach (var part in parts)
            {
                Assert.Equal(part.Records.Order(), part.Records);
                var alone = part.Records.Select(number => keys[number]).ToArray();
                Assert.Equal(Batch(alone, part.Records), part.Batch.ToArray());
                Assert.All(part.Records, number => Assert.Equal(
                    first.Length == 0 ? 0
                    : BatchPartitions.OfKey(
                        Encoding.UTF8.GetBytes(keys[number].Length > 0 ? keys[number] : first), partitions),
                    part.Partition));
            }
        }
    }

    [Fact]
    public void Lengths_and_fields_that_no_encoder_of_ours_writes_are_no_obstacle()
    {
        // A length of two bytes where one would do, an unknown field of the batch, a key that is there twice.
        byte[] batch = [0x10, 0x05, 0x0A, 0x83, 0x00, 0x0A, 0x01, 0x61, 0x0A, 0x06, 0x0A, 0x01, 0x78, 0x0A, 0x01, 0x61];
        Assert.Equal(2, RecordBatchScanner.Scan(batch).Count);
        Assert.Equal(11, BatchPartitions.Find(batch, 12));
        var part = Assert.Single(BatchPartitions.Split(batch, 12));
        Assert.Equal([0U, 1U], part.Records);
        Assert.Equal("0A030A01610A060A01780A0161", Convert.ToHexString(part.Batch.Span));
    }

    private static byte[] Batch(params string[] keys) => Batch(keys, [.. keys.Select((_, number) => (uint)number)]);

    private static byte[] Batch(IReadOnlyList<string> keys, IReadOnlyList<uint> numbers) => RecordBatchEncoder.Encode(
        [.. keys.Select((key, at) => new BrokerMessage
        {
            Key = Encoding.UTF8.GetBytes(key),
            Value = Encoding.UTF8.GetBytes(new string('v', (int)numbers[at] * 7)),
        })]);
}
