using System.Buffers;
using System.Text;

namespace Grpc.Core;

public sealed partial class Metadata
{
    private static readonly SearchValues<char> KeyCharacters =
        SearchValues.Create("abcdefghijklmnopqrstuvwxyz0123456789._-");

    /// <summary>One key with its text, or its bytes when the key ends in "-bin".</summary>
    public class Entry
    {
        private readonly string? _text;
        private readonly byte[]? _bytes;

        public Entry(string key, byte[] valueBytes)
        {
            ArgumentNullException.ThrowIfNull(valueBytes);
            Key = NormalizeKey(key);
            if (!Key.EndsWith(BinaryHeaderSuffix, StringComparison.Ordinal))
            {
                throw new ArgumentException($"The key '{Key}' must end in '-bin' to hold bytes.", nameof(key));
            }

            // A copy, so that the entry never changes under its readers.
            _bytes = valueBytes.AsSpan().ToArray();
        }

        public Entry(string key, string value)
        {
            ArgumentNullException.ThrowIfNull(value);
            Key = NormalizeKey(key);
            if (Key.EndsWith(BinaryHeaderSuffix, StringComparison.Ordinal))
            {
                throw new ArgumentException($"The key '{Key}' ends in '-bin' and cannot hold text.", nameof(key));
            }

            _text = value;
        }

        public string Key { get; }

        public bool IsBinary => _bytes is not null;

        public string Value =>
            _text ?? throw new InvalidOperationException($"The metadata entry '{Key}' is binary; read ValueBytes.");

        public byte[] ValueBytes => _bytes is null ? Encoding.ASCII.GetBytes(_text!) : _bytes.AsSpan().ToArray();

        internal ReadOnlySpan<byte> BytesUncopied => _bytes;

        public override string ToString() =>
            IsBinary ? $"[Entry: key={Key}, valueBytes={_bytes!.Length} bytes]" : $"[Entry: key={Key}, value={_text}]";

        internal bool HasKey(string key) => string.Equals(Key, key, StringComparison.OrdinalIgnoreCase);

        internal static bool IsValidKey(string key) =>
            !key.AsSpan().ContainsAnyExcept(KeyCharacters)
            || !key.ToLowerInvariant().AsSpan().ContainsAnyExcept(KeyCharacters);

        private static string NormalizeKey(string key)
        {
            ArgumentNullException.ThrowIfNull(key);
            if (!key.AsSpan().ContainsAnyExcept(KeyCharacters))
            {
                return key;
            }

            // HTTP/2 header names are lower case (RFC 9113, 8.2).
            var lower = key.ToLowerInvariant();
            if (lower.AsSpan().ContainsAnyExcept(KeyCharacters))
            {
                throw new ArgumentException(
                    $"The metadata key '{key}' may hold only ASCII letters, digits, '.', '_' and '-'.", nameof(key));
            }

            return lower;
        }
    }
}
