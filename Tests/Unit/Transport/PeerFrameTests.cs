using System.Buffers.Binary;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Transport;
using Google.Protobuf;
using Xunit;

namespace Broker.Tests.Unit.PeerStreams;

/// <summary>The bytes between peers, whole and hurt.</summary>
public sealed class PeerFrameTests
{
    [Fact]
    public void A_frame_is_read_as_it_was_written()
    {
        var frame = Write(PeerFrameKind.Envelope, Envelope());

        Assert.Equal(PeerFrameStatus.Whole, PeerFrame.Look(frame, out var kind, out var length));
        Assert.Equal((PeerFrameKind.Envelope, frame.Length), (kind, length));
        Assert.Equal(Envelope(), PeerEnvelope.Parser.ParseFrom(frame.AsSpan(PeerFrame.HeaderBytes)));
    }

    [Fact]
    public void A_sign_of_life_is_the_bytes_that_are_written_down()
    {
        var frame = Write(PeerFrameKind.Envelope, new PeerEnvelope());

        Assert.Equal([0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0], frame[..12]);
        Assert.Equal(Crc32C.Compute(frame.AsSpan(0, 12)), BinaryPrimitives.ReadUInt32LittleEndian(frame.AsSpan(12)));
        Assert.Equal(PeerFrame.HeaderBytes, frame.Length);
    }

    [Fact]
    public void A_frame_that_is_cut_anywhere_is_waited_for()
    {
        var frame = Write(PeerFrameKind.Envelope, Envelope());
        for (var length = 0; length < frame.Length; length++)
        {
            Assert.Equal(PeerFrameStatus.Cut, PeerFrame.Look(frame.AsSpan(0, length), out _, out var wanted));
            Assert.Equal(length < PeerFrame.HeaderBytes ? PeerFrame.HeaderBytes : frame.Length, wanted);
        }
    }

    [Fact]
    public void A_frame_that_is_garbled_anywhere_is_found_out()
    {
        var frame = Write(PeerFrameKind.Envelope, Envelope());
        for (var bit = 0; bit < 8 * frame.Length; bit++)
        {
            var garbled = (byte[])frame.Clone();
            garbled[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.Equal(PeerFrameStatus.Garbled, PeerFrame.Look(garbled, out _, out var length));
            Assert.Equal(0, length);
        }
    }

    [Fact]
    public void A_garbled_header_is_found_out_before_its_payload_is_there()
    {
        var frame = Write(PeerFrameKind.Envelope, Envelope());
        for (var at = 0; at < PeerFrame.HeaderBytes; at++)
        {
            var header = frame[..PeerFrame.HeaderBytes];
            header[at] ^= 1;
            Assert.Equal(PeerFrameStatus.Garbled, PeerFrame.Look(header, out _, out _));
        }
    }

    [Theory]
    [InlineData(Limits.PeerFrameBytes + 1U, 3U)]
    [InlineData(uint.MaxValue, 3U)]
    [InlineData(0U, 0U)]
    [InlineData(0U, 4U)]
    [InlineData(0U, 0x103U)]
    public void A_length_beyond_the_limit_and_an_unknown_kind_are_garbage_whatever_their_sum(uint length, uint kind)
    {
        var header = new byte[PeerFrame.HeaderBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(header, length);
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(4), kind);
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(12), Crc32C.Compute(header.AsSpan(0, 12)));

        Assert.Equal(PeerFrameStatus.Garbled, PeerFrame.Look(header, out _, out _));
    }

    [Fact]
    public void Frames_follow_each_other_and_one_that_comes_twice_is_two()
    {
        var frame = Write(PeerFrameKind.Envelope, Envelope());
        var other = Write(PeerFrameKind.Hello, new PeerHello { Name = "broker-2" });
        byte[] stream = [.. frame, .. frame, .. other];
        var kinds = new List<PeerFrameKind>();
        for (var at = 0; at < stream.Length;)
        {
            Assert.Equal(PeerFrameStatus.Whole, PeerFrame.Look(stream.AsSpan(at), out var kind, out var length));
            kinds.Add(kind);
            at += length;
        }

        Assert.Equal([PeerFrameKind.Envelope, PeerFrameKind.Envelope, PeerFrameKind.Hello], kinds);
    }

    [Fact]
    public void A_buffer_grows_as_it_must_and_is_used_again()
    {
        var buffer = new byte[PeerFrame.HeaderBytes];
        var large = new PeerEnvelope { Messages = { PeerOutboxTests.Append(1, 100_000) } };
        var length = PeerFrame.Write(PeerFrameKind.Envelope, large, ref buffer);
        Assert.Equal(PeerFrameStatus.Whole, PeerFrame.Look(buffer.AsSpan(0, length), out _, out _));

        var grown = buffer;
        length = PeerFrame.Write(PeerFrameKind.Envelope, Envelope(), ref buffer);
        Assert.Same(grown, buffer);
        Assert.Equal(PeerFrameStatus.Whole, PeerFrame.Look(buffer.AsSpan(0, length), out _, out _));
    }

    [Fact]
    public void Http_begins_otherwise() => Assert.NotEqual((byte)'P', PeerFrame.Preamble[0]);

    private static byte[] Write(PeerFrameKind kind, IMessage message)
    {
        var buffer = new byte[1];
        var length = PeerFrame.Write(kind, message, ref buffer);
        return buffer[..length];
    }

    private static PeerEnvelope Envelope() => new()
    {
        Messages = { PeerOutboxTests.Append(7, 50) },
        Heartbeats = { new PeerHeartbeat { Group = 3, Term = 300, Index = 9 } },
    };
}
