using Broker.Domain;
using Broker.Storage;
using Xunit;

namespace Broker.Tests.Unit.Storage;

public class FrameBatchTests
{
    private const uint Seed = 17;
    private readonly FrameBatch _batch = new();

    [Theory]
    [InlineData(1)]
    [InlineData(64)]
    [InlineData(65)]
    [InlineData(300)]
    public void Frames_lie_one_after_another_and_name_the_one_before(int count)
    {
        // The second time in memory that the first one has used.
        Fill(4096, first: 1, count);
        CheckFrames(4096, first: 1, count);
        Fill(8192, first: 7, count);
        CheckFrames(8192, first: 7, count);
    }

    [Fact]
    public void Room_that_is_made_later_leaves_earlier_frames_as_they_are()
    {
        _batch.Begin(4096);
        var crc = Add(LogFixture.Entry(1), previousCrc32C: 0);
        _batch.Reserve(1000);
        for (var index = 2; index <= 900; index++)
        {
            crc = Add(LogFixture.Entry(index, bodyBytes: index % 50), crc);
        }

        CheckFrames(4096, first: 1, count: 900);
    }

    [Fact]
    public void Zeros_follow_the_frames_and_take_no_place_of_the_next()
    {
        Fill(4096, first: 1, count: 2);
        var end = _batch.To;
        _batch.AddZeros(3_000_000);

        Assert.Equal(end, _batch.To);
        var bytes = Bytes();
        Assert.Equal(_batch.SizeBytes + 3_000_000, bytes.Length);
        Assert.False(bytes.AsSpan((int)_batch.SizeBytes).ContainsAnyExcept((byte)0));
    }

    private void Fill(long from, long first, int count)
    {
        _batch.Begin(from);
        var crc = 0u;
        for (var i = 0; i < count; i++)
        {
            crc = Add(LogFixture.Entry(first + i, bodyBytes: i % 50), crc);
        }
    }

    private uint Add(LogEntry entry, uint previousCrc32C) =>
        _batch.Add(entry, entry.Index.Previous(), truncationEpoch: 3, previousCrc32C, Seed);

    private void CheckFrames(long from, long first, int count)
    {
        Assert.Equal(count, _batch.Frames.Count);
        var bytes = Bytes();
        Assert.Equal(_batch.SizeBytes, bytes.Length);
        var at = 0;
        var previousCrc = 0u;
        foreach (var frame in _batch.Frames)
        {
            Assert.Equal(from + at, frame.Offset);
            Assert.True(FrameHeader.TryDecode(bytes.AsSpan(at), Seed, out var header, out var crc));
            Assert.Equal(first++, header.Index.Value);
            Assert.Equal(previousCrc, header.PreviousCrc32C);
            var body = bytes.AsSpan(at + FrameHeader.SizeBytes, header.BodyBytes);
            Assert.Equal(header.BodyCrc32C, Crc32C.Compute(body));
            previousCrc = crc;
            at += FrameHeader.FrameBytes(header.BodyBytes);
        }

        Assert.Equal(_batch.To, from + at);
    }

    private byte[] Bytes() => [.. _batch.Parts.SelectMany(static part => part.ToArray())];
}
