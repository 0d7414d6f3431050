using System.Diagnostics.CodeAnalysis;
using Broker.Client.Handling;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Broker.Client;

/// <summary>Registers handlers of consumer groups.</summary>
public static class BrokerHandlerServiceCollectionExtensions
{
    /// <summary>
    /// Has a class work on the messages of a consumer group as long as the program runs. Needs a
    /// <see cref="BrokerClient"/> (<see cref="BrokerClientServiceCollectionExtensions.AddBrokerClient"/>).
    /// </summary>
    /// <param name="services">The service collection.</param>
    /// <param name="group">The group's name.</param>
    /// <param name="options">What it works on, and how much at a time.</param>
    /// <typeparam name="THandler">The handler: made anew for each message, in a scope of its own.</typeparam>
    /// <typeparam name="T">What a message is.</typeparam>
    /// <returns>The service collection.</returns>
    /// <exception cref="ArgumentException">An option is out of its range.</exception>
    public static IServiceCollection AddBrokerHandler<
        [DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicConstructors)] THandler,
        [DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] T>(
        this IServiceCollection services, string group, BrokerHandlerOptions? options = null)
        where THandler : class, IBrokerHandler<T>
    {
        ArgumentNullException.ThrowIfNull(services);
        services.TryAddScoped<THandler>();
        return services.AddBrokerHandler<T>(group, options, static provider => async (message, cancellationToken) =>
        {
            await using var scope = provider.CreateAsyncScope();
            await scope.ServiceProvider.GetRequiredService<THandler>().HandleAsync(message, cancellationToken);
        });
    }

    /// <summary>The same for a method: see <see cref="IBrokerHandler{T}.HandleAsync"/>.</summary>
    /// <param name="services">The service collection.</param>
    /// <param name="group">The group's name.</param>
    /// <param name="handle">What works on a message.</param>
    /// <param name="options">What it works on, and how much at a time.</param>
    /// <typeparam name="T">What a message is.</typeparam>
    /// <returns>The service collection.</returns>
    /// <exception cref="ArgumentException">An option is out of its range.</exception>
    public static IServiceCollection AddBrokerHandler<
        [DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] T>(
        this IServiceCollection services,
        string group,
        Func<HandledMessage<T>, CancellationToken, Task> handle,
        BrokerHandlerOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentNullException.ThrowIfNull(handle);
        return services.AddBrokerHandler<T>(group, options, _ => handle);
    }

    private static IServiceCollection AddBrokerHandler<
        [DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] T>(
        this IServiceCollection services,
        string group,
        BrokerHandlerOptions? options,
        Func<IServiceProvider, Func<HandledMessage<T>, CancellationToken, Task>> handle)
    {
        ArgumentException.ThrowIfNullOrEmpty(group);
        options ??= new BrokerHandlerOptions();
        if (options.Concurrency is < 1 or > 500)
        {
            throw new ArgumentException(
                $"{nameof(BrokerHandlerOptions.Concurrency)} is {options.Concurrency}; expected 1 to 500.",
                nameof(options));
        }

        // Not AddHostedService, which would take the second handler of a type for the first.
        services.AddSingleton<IHostedService>(provider =>
        {
            var client = provider.GetRequiredService<IBrokerClient>();
            return new HandlerService<T>(
                client,
                group,
                options,
                options.Serializer ?? client.Serializer,
                handle(provider),
                provider.GetService<TimeProvider>() ?? TimeProvider.System,
                provider.GetRequiredService<ILoggerFactory>().CreateLogger($"Broker.Client.Handler.{group}"));
        });
        return services;
    }
}
