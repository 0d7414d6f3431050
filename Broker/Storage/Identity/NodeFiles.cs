namespace Broker.Storage;

/// <summary>
/// A node's record in two files of its folder. Each is written anew and replaces the old one when it is durable, so a
/// crash leaves the one or the other; and one after the other, so that damage of one is mended from the other.
/// </summary>
internal sealed class NodeFiles(IStorageDevice device, string folder)
{
    private readonly string _path = Path.Combine(folder, "node.id");
    private readonly string _copyPath = Path.Combine(folder, "node.id.copy");

    /// <summary>The newer of both, and whether it stands in both; null when the disk is a new one.</summary>
    /// <exception cref="StorageCorruptException">There are files, and none of them can be used.</exception>
    public (NodeRecord? Record, bool IsInBoth) Read()
    {
        var first = TryRead(_path);
        var second = TryRead(_copyPath);
        if (first is null && second is null)
        {
            ThrowIfThere(_path);
            ThrowIfThere(_copyPath);
        }

        return (first?.Sequence >= second?.Sequence ? first : second ?? first, first?.Sequence == second?.Sequence);
    }

    /// <summary>Makes a record durable in both.</summary>
    public void Write(NodeRecord record)
    {
        Write(_path, record);
        Write(_copyPath, record);
    }

    /// <summary>Null when the file is missing or damaged.</summary>
    private NodeRecord? TryRead(string path)
    {
        if (!device.Exists(path))
        {
            return null;
        }

        using var file = device.Open(path, create: false);
        var block = new byte[Math.Min(file.Length, NodeRecord.MaxBytes + 1)];
        int count;
        try
        {
            count = file.Read(0, block);
        }
        catch (IOException)
        {
            // What the disk cannot read is as good as damaged: the other file decides.
            return null;
        }

        return count > NodeRecord.MaxBytes ? null : NodeRecord.TryDecode(block.AsSpan(0, count), path);
    }

    /// <summary>A disk that has any of them is not a new one.</summary>
    private void ThrowIfThere(string path)
    {
        if (device.Exists(path))
        {
            throw new StorageCorruptException(
                path, 0, "a node record with a matching checksum, here or in its copy; without it nobody knows "
                + "whose disk this is. Its peers have what was in this folder: give the node an empty one, and "
                + "start it once with Broker__ReplaceLostDisk=true");
        }
    }

    private void Write(string path, NodeRecord record)
    {
        var temporary = path + GroupFolder.TemporarySuffix;
        if (device.Exists(temporary))
        {
            device.Delete(temporary);
        }

        using (var file = device.Open(temporary, create: true))
        {
            file.Write(0, record.Encode());
            file.Sync();
        }

        device.Rename(temporary, path);
        device.SyncFolder(folder);
    }
}
