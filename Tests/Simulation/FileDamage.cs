using System.Buffers.Binary;
using Broker.Domain;
using Broker.Storage;

namespace Broker.Tests.Simulation;

/// <summary>Breaks the files of one replica while its process is down: flips bits, cuts short, deletes.</summary>
internal sealed class FileDamage(World world, SimulatedDevice device, string folder, Action<string> say)
{
    private const string VoteName = "vote";

    /// <summary>All files, or a few; of segments only those that are named.</summary>
    public void Strike(IReadOnlySet<string> segments)
    {
        if (world.Random.Next(8) == 0)
        {
            Wipe();
            return;
        }

        for (var count = world.Random.Next(1, 4); count > 0; count--)
        {
            var names = device.List(folder).Where(name => !name.EndsWith(".log", StringComparison.Ordinal)
                || segments.Contains(name)).ToArray();
            if (names.Length > 0)
            {
                Damage(names[world.Random.Next(names.Length)]);
            }
        }
    }

    /// <summary>Flips a bit in the last frame of a segment.</summary>
    public void FlipLastFrame(string segment, int lastEntry)
    {
        var path = $"{folder}/{segment}";
        var bytes = new byte[device.Length(path)];
        using (var file = device.Open(path, create: false))
        {
            file.Read(0, bytes);
        }

        var at = bytes.AsSpan().LastIndexOf(FrameHeader.Magic);
        while (at % FrameHeader.AlignmentBytes != 0)
        {
            at = bytes.AsSpan(0, at).LastIndexOf(FrameHeader.Magic);
        }

        var bodyBytes = BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(at + 8));
        var offset = at + world.Random.Next(FrameHeader.SizeBytes + bodyBytes);
        say($"finds a bit of its last entry {lastEntry} flipped at {offset}");
        world.Figures.Count(Figure.LastFrameLost);
        device.Flip(path, offset, (byte)(1 << world.Random.Next(8)));
    }

    /// <summary>
    /// Flips a bit of a sealed segment, and takes away the snapshots behind the log's base, which would do without it.
    /// False: there is no such segment.
    /// </summary>
    public bool TryLoseUnapplied(string segment, LogIndex baseIndex)
    {
        if (!device.Exists($"{folder}/{segment}"))
        {
            return false;
        }

        foreach (var name in device.List(folder))
        {
            if (GroupFolder.TryParseSnapshot(name, out var index) && index > baseIndex)
            {
                device.Delete($"{folder}/{name}");
            }
        }

        device.SyncFolder(folder);
        say($"loses its snapshots behind {baseIndex}");
        FlipFirstFrame(segment);
        return true;
    }

    /// <summary>Flips a bit in the first frame of a segment.</summary>
    public void FlipFirstFrame(string segment)
    {
        var offset = SegmentHeader.SizeBytes + world.Random.Next(FrameHeader.SizeBytes);
        say($"finds a bit of {segment} flipped at {offset}");
        world.Figures.Count(Figure.BitFlip);
        device.Flip($"{folder}/{segment}", offset, (byte)(1 << world.Random.Next(8)));
    }

    /// <summary>Takes away what a replica has promised: its vote, the end of its log, or everything.</summary>
    /// <param name="lastSegment">The segment that is appended to.</param>
    /// <param name="isEnd">It is the end of the log, where there is one.</param>
    public void LosePromises(string lastSegment, bool isEnd)
    {
        var path = $"{folder}/{lastSegment}";
        switch (isEnd ? 1 : world.Random.Next(3))
        {
            case 0:
                Wipe();
                break;
            case 1 when device.Exists(path):
                var shorter = world.Random.NextInt64(device.Length(path) / 4);
                say($"finds {lastSegment} cut short to {shorter}");
                world.Figures.Count(Figure.FileCutShort);
                device.SetLength(path, shorter);
                break;
            default:
                say("loses its vote");
                world.Figures.Count(Figure.FileDeleted);
                device.Delete($"{folder}/{VoteName}");
                device.SyncFolder(folder);
                break;
        }
    }

    public void Wipe()
    {
        say("loses all files");
        world.Figures.Count(Figure.DiskWiped);
        foreach (var name in device.List(folder))
        {
            device.Delete($"{folder}/{name}");
        }

        device.SyncFolder(folder);
    }

    private void Damage(string name)
    {
        var path = $"{folder}/{name}";
        var length = device.Length(path);
        switch (world.Random.Next(name == VoteName ? 8 : 4))
        {
            case 0:
                say($"loses {name}");
                world.Figures.Count(Figure.FileDeleted);
                device.Delete(path);
                device.SyncFolder(folder);
                break;
            case 1 when length > 0:
                var shorter = world.Random.NextInt64(length);
                say($"finds {name} cut short to {shorter} of {length}");
                world.Figures.Count(Figure.FileCutShort);
                device.SetLength(path, shorter);
                break;
            default:
                for (var flips = world.Random.Next(1, 4); flips > 0 && length > 0; flips--)
                {
                    var offset = world.Random.NextInt64(length);
                    say($"finds a bit of {name} flipped at {offset} of {length}");
                    world.Figures.Count(Figure.BitFlip);
                    device.Flip(path, offset, (byte)(1 << world.Random.Next(8)));
                }

                break;
        }
    }
}
