using Broker.ClusterState;
using Broker.Domain;
using Broker.State;
using Broker.Topics;
using Xunit;

namespace Broker.Tests.Unit.Topics;

public sealed class CommandCodecTests
{
    [Fact]
    public void A_publish_has_the_documented_bytes()
    {
        var bytes = Entries.PublishCommand("a", [0x0A, 0x00]);
        Assert.Equal(
            "1D000000" + "01" + "0161" + "0000000000000000" + "00000000" + "0000000000000000" + "01000000" + "0A00",
            Convert.ToHexString(bytes));
    }

    [Fact]
    public void A_purge_has_the_documented_bytes() => Assert.Equal(
        "0B000000" + "02" + "0161" + "FFFFFFFFFFFFFFFF", Convert.ToHexString(Entries.PurgeCommand("a", -1)));

    [Fact]
    public void A_node_registration_has_the_documented_bytes()
    {
        var store = Guid.Parse("00112233-4455-6677-8899-aabbccddeeff");
        var bytes = Entries.Metadata(
            into => ClusterCommands.WriteNodeRegistered(into, new NodeRegistration(new NodeId(2), "b", store)));
        Assert.Equal(
            "18000000" + "11" + "02000000" + "00112233445566778899AABBCCDDEEFF" + "010062", Convert.ToHexString(bytes));
    }

    [Fact]
    public void Any_sequence_of_publishes_reads_back_as_written()
    {
        var random = new Random(20260801);
        for (var round = 0; round < 200; round++)
        {
            var wanted = Enumerable.Range(0, random.Next(1, 8)).Select(_ => Draw(random)).ToArray();
            var body = wanted
                .SelectMany(each => Entries.PublishCommand(each.Topic, each.Batch, each.Records, each.Stamp))
                .ToArray();

            var ordinal = 0;
            foreach (var command in new CommandSequence(body))
            {
                var expected = wanted[ordinal++];
                var actual = TopicCommands.ReadPublish(command);
                Assert.Equal(expected.Topic, System.Text.Encoding.UTF8.GetString(actual.Topic));
                Assert.Equal(expected.Stamp, actual.Stamp);
                Assert.Equal(expected.Records, actual.RecordCount);
                Assert.Equal(expected.Batch, actual.Batch.ToArray());
                Assert.Equal(expected.Batch, body[actual.BatchPosition..(actual.BatchPosition + actual.Batch.Length)]);
            }

            Assert.Equal(wanted.Length, ordinal);
        }
    }

    [Fact]
    public void A_body_cut_short_breaks_an_invariant_and_nothing_else()
    {
        var body = Entries.PublishCommand("orders", Entries.Batch(3), 3, new PublishStamp(7, 1, 9));
        for (var length = 1; length < body.Length; length++)
        {
            var cut = body[..length];
            Assert.Throws<InvariantException>(() => ReadAll(cut));
        }
    }

    [Fact]
    public void Random_bytes_read_as_commands_or_break_an_invariant()
    {
        var random = new Random(7);
        for (var round = 0; round < 5_000; round++)
        {
            var body = new byte[random.Next(1, 40)];
            random.NextBytes(body);
            if (round % 2 == 0 && body.Length > 5)
            {
                // Most random lengths are absurd; make half of them fit so that payloads are reached.
                body.AsSpan(0, 4).Clear();
                body[0] = (byte)(body.Length - 4);
                body[4] = (byte)CommandKind.Publish;
            }

            var fault = Record.Exception(() => ReadAll(body));
            Assert.True(fault is null or InvariantException, fault?.ToString());
        }
    }

    [Fact]
    public void Reading_publishes_allocates_nothing()
    {
        var body = Entries.PublishCommand("orders", Entries.Batch(3), 3, new PublishStamp(7, 1, 9));
        ReadAll(body);
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1_000; i++)
        {
            ReadAll(body);
        }

        Assert.True(GC.GetAllocatedBytesForCurrentThread() - before < 1_000, "reading allocates per publish");
    }

    private static int ReadAll(ReadOnlySpan<byte> body)
    {
        var records = 0;
        foreach (var command in new CommandSequence(body))
        {
            records += TopicCommands.ReadPublish(command).RecordCount & 1;
        }

        return records;
    }

    private static (string Topic, PublishStamp Stamp, int Records, byte[] Batch) Draw(Random random)
    {
        var topic = string.Concat(Enumerable.Range(0, random.Next(1, 60)).Select(_ => "aé漢.z"[random.Next(5)]));
        var batch = new byte[random.Next(0, 200)];
        random.NextBytes(batch);
        var stamp = new PublishStamp((ulong)random.NextInt64(), (uint)random.Next(), (ulong)random.NextInt64());
        return (topic, stamp, random.Next(1, int.MaxValue), batch);
    }
}
