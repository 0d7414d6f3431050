using System.Diagnostics.CodeAnalysis;
using System.Text;

namespace Broker.Client;

public sealed partial class BrokerClient
{
    /// <summary>Publishes a value, as <see cref="BrokerClientOptions.Serializer"/> writes it.</summary>
    /// <param name="topic">As in <see cref="PublishAsync(string, BrokerMessage, CancellationToken)"/>.</param>
    /// <param name="value">The value. A header "content-type" says what it is written as, unless there is one.</param>
    /// <param name="with">Key, headers and all else; its Value is not looked at. Null: nothing.</param>
    /// <param name="cancellationToken">Ends the waiting; the message may be stored all the same.</param>
    /// <typeparam name="T">As what it is written.</typeparam>
    /// <returns>Its offset, when it is on the disks of a majority of the brokers.</returns>
    /// <exception cref="NotSupportedException">Such a value cannot be written.</exception>
    /// <exception cref="BrokerClientException">As the other PublishAsync.</exception>
    public ValueTask<PublishAck> PublishValueAsync<T>(
        string topic, T value, BrokerMessage? with = null, CancellationToken cancellationToken = default)
        where T : notnull
    {
        var (bytes, contentType) = _options.Serializer.Serialize(value);
        var headers = with?.Headers ?? [];
        return PublishAsync(
            topic,
            (with ?? new BrokerMessage()) with
            {
                Value = bytes,
                Headers = headers.Any(static header => header.Key == MessageSerializer.ContentTypeHeader)
                    ? headers
                    : [new(MessageSerializer.ContentTypeHeader, Encoding.ASCII.GetBytes(contentType)), .. headers],
            },
            cancellationToken);
    }

    /// <summary>The value of a record, as <see cref="BrokerClientOptions.Serializer"/> reads it.</summary>
    /// <param name="record">However it was read.</param>
    /// <typeparam name="T">What it is to be.</typeparam>
    /// <returns>The value.</returns>
    /// <exception cref="FormatException">The record holds no such value.</exception>
    public T ReadValue<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] T>(
        BrokerRecord record)
    {
        ArgumentNullException.ThrowIfNull(record);
        return _options.Serializer.Deserialize<T>(record.Value);
    }
}
