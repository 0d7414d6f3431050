using Broker.Protocol.V1;
using Broker.Transport;
using Google.Protobuf;

namespace Broker.Tests.Simulation;

/// <summary>
/// Now and then a message between real replicas travels as it does in production, in a frame, and something happens to
/// that: a bit flips somewhere in it, or it ends early and the next one follows. What the transport makes of the bytes
/// is what arrives.
/// </summary>
internal sealed class WireFrames(World world, int seed)
{
    private const double Rate = 0.002;

    /// <summary>Of its own, so that what else a seed draws stays what it is.</summary>
    private readonly Random _random = new(seed ^ 0x6672616D);

    private byte[] _buffer = new byte[1024];

    /// <summary>
    /// True: it was hurt on the way. Then what arrives of it: null when the receiver noticed, and ends the connection.
    /// </summary>
    public bool TryHurt(PeerMessage? wire, out PeerMessage? arrives)
    {
        arrives = null;
        if (wire is null || _random.NextDouble() >= Rate)
        {
            return false;
        }

        var envelope = new PeerEnvelope { Messages = { wire } };
        var length = PeerFrame.Write(PeerFrameKind.Envelope, envelope, ref _buffer);
        var bytes = _buffer.AsSpan(0, length).ToArray();
        if (_random.Next(3) == 0)
        {
            world.Figures.Count(Figure.FrameCut);
            var cut = _random.Next(1, length);
            bytes = [.. bytes[..cut], .. bytes];
        }
        else
        {
            world.Figures.Count(Figure.FrameGarbled);
            bytes[_random.Next(length)] ^= (byte)(1 << _random.Next(8));
        }

        arrives = Read(bytes);
        return true;
    }

    private static PeerMessage? Read(byte[] bytes)
    {
        if (PeerFrame.Look(bytes, out _, out var length) != PeerFrameStatus.Whole)
        {
            return null;
        }

        try
        {
            return PeerEnvelope.Parser.ParseFrom(bytes.AsSpan(PeerFrame.HeaderBytes, length - PeerFrame.HeaderBytes))
                .Messages.FirstOrDefault();
        }
        catch (InvalidProtocolBufferException)
        {
            return null;
        }
    }
}
